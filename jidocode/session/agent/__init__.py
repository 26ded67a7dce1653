"""A language model at work in a session: how it is asked, and what is done about its answer.

model.py         what every model is: the `Model` protocol, what it is asked, what it answers
spec.py          `ModelSpec`: a model by its name, made in the process that uses it
message.py       `MessageBuilder`: deltas, put together to the whole answer
retrying.py      when a model is asked again, and after how long
asking.py        one answer of a model, however often it has to be asked for it
chunks.py        the events of Chat Completions, made deltas, whichever server sends them
failures.py      what a server says instead of an answer, made an error
openai_model.py  `OpenAIModel`: any server that speaks Chat Completions, by the openai SDK
preload.py       what a host imports and does beforehand, so that an agent costs little
turn.py          `Turn`: what is done next, from a prompt to the end of its turn
"""
