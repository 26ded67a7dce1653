# Runs the scenarios of the given files, and prints `## their name` and the lines that were observed.

for file <- ["stage" | System.argv()], do: Code.require_file("#{file}.exs", __DIR__)
