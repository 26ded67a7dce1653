"""A session's tools for clients of the Model Context Protocol: needs the extra `jidocode[mcp]`.

offer.py            which tools a client is shown, and how a call of one is made, and ended
server.py           the server of the `mcp` package over them
stdio.py            a client at the other end of standard input and output
http.py             clients on 127.0.0.1 that know a token
header_timeout.py   connections that ask nothing, few and not for long
token.py            where that token comes from
"""
