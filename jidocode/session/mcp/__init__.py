"""Servers of the Model Context Protocol, whose tools a session has beside its own.

spec.py        `McpServer`: how one is reached, as the app says it
messages.py    what its process is asked, and answers
server.py      `McpClient`: the process that keeps one server, and owns the connection to it
connection.py  the connection: the client of the `mcp` package, in one task from start to end
program.py     a server that is a program: confined if asked, and ended with all that it has started
transport.py   its standard input and output as messages
web.py         a server behind an address, whose answers are bounded
reading.py     what a server says of its tools and of their results, made fit for a model
client.py      `McpServersClient`: how tools and apps reach the servers of a session
tools.py       the tools of a server as `Tool`s
preload.py     what a host imports before it forks, so that a connection costs little
"""
