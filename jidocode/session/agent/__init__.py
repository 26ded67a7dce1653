"""A language model at work in a session: how it is asked, and what is done about its answer.

What a model is, in any process:

model.py         what every model is: the `Model` protocol, what it is asked, what it answers
spec.py          `ModelSpec`: a model by its name, made in the process that uses it
openai_model.py  `OpenAIModel`: any server that speaks Chat Completions, by the openai SDK
chunks.py        the events of Chat Completions, made deltas, whichever server sends them
failures.py      what a server says instead of an answer, made an error
bounding.py      what a server may send, in bytes
retrying.py      when a model is asked again, and after how long
asking.py        one answer of a model, however often it has to be asked for it
message.py       `MessageBuilder`: deltas, put together to the whole answer

What is done about its answers, in the process of the agent:

turn.py          `Turn`: what is done next, from a prompt to the end of its turn
running.py       `RunningTurn`: carries that out
part_queue.py    `PartQueue`: what happens in a turn, on its way to whoever has prompted
writing.py       `MessageWriter`: an answer, written into the State while it comes
context.py       what a model is told before the conversation
compaction.py    how a summary stands for a conversation that becomes too long
server.py        `Agent`: the process, one turn at a time
preload.py       what a host imports and does beforehand, so that an agent costs little

How it is prompted, in the app:

client.py        `AgentClient`: what an app asks
driver.py        `TurnDriver`: makes a turn's calls of tools
handle.py        `TurnHandle`: a turn under way
messages.py      what an agent and whoever prompts it say to each other
presence.py      what is asked of an agent that is there, and starts none
"""
