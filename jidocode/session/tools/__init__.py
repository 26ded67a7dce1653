"""What a model or an editor may ask of a session, as data, and who allows it.

tool.py       `Tool`: name, description, schema, and how it is done
arguments.py  what comes from a model, made the arguments that a tool takes
builtin.py    the tools that every session has
bounding.py   how long a result may be
policy.py     who is asked before a tool changes something
steps.py      what is done with a session for it, step by step
calls.py      a call, from its first word to its result: checked, allowed, made, written down
toolbox.py    `Toolbox`: makes calls for threads (`system/asynchronous/toolbox.py`: for coroutines)
"""
