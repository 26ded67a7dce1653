"""An agent for editors, by the Agent Client Protocol: needs the extra `jidocode[acp]`.

updates.py      what an editor is shown of messages, calls and todos; pure
content.py      what a person says in an editor, as blocks of a message; pure
permissions.py  what may be done without asking, and what a person is asked; pure
sessions.py     the sessions that editors have opened, of which one per project runs
servers.py      the MCP servers that an editor wants a session to have; pure
turn.py         a prompt, from what was said to the reason why it ended
agent.py        the methods of the protocol
wire.py         messages over standard input and output, one a line
serving.py      the connection, errors as the protocol has them, and the end of it all
"""
