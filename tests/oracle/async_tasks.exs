# Tasks: functions that run once, each in a supervised process.

import Stage

defmodule Work do
  @moduledoc "What the tasks run. They see each other by files, as those of Python can, too."

  def ten_times(number), do: 10 * number

  def fail(how) when how == :raise, do: raise("told to")
  def fail(:kill), do: Process.exit(self(), :kill)
  def fail(:exit), do: exit(:normal)

  def odd_only(number) when rem(number, 2) == 1, do: number

  # Returns how many run, once its neighbour does, too: 1 waits for 2, 3 for 4.
  def meet(number, folder) do
    File.touch!("#{folder}/runs #{number}")
    count = length(Path.wildcard("#{folder}/runs *"))
    File.touch!("#{folder}/#{number}")
    wait("#{folder}/#{if rem(number, 2) == 1, do: number + 1, else: number - 1}")
    File.rm!("#{folder}/runs #{number}")
    {number, count}
  end

  def wait(file, tries \\ 5000) when tries > 0 do
    unless File.exists?(file) do
      Process.sleep(1)
      wait(file, tries - 1)
    end
  end

  # The first of all waits for that file; the others are there at once.
  def wait_if_first(number, file) do
    if number == 1, do: wait(file)
    if number == 3, do: File.touch!(file)
    number
  end
end

tasks = fn options ->
  start(Supervisor.child_spec({Task.Supervisor, options}, []))
end

folder = fn ->
  folder = Path.join(File.cwd!(), "tasks #{System.unique_integer([:positive])}")
  File.mkdir!(folder)
  folder
end

scenario("tasks: results come in the order of the items, no more run than may", fn ->
  tasks = tasks.([])
  folder = folder.()
  stream = Task.Supervisor.async_stream(tasks, 1..4, Work, :meet, [folder], max_concurrency: 2)
  results = for {:ok, result} <- stream, do: result
  for {number, _} <- results, do: note("item #{number}")
  note("most at once: #{results |> Enum.map(&elem(&1, 1)) |> Enum.max()}")
end)

scenario("tasks: what runs while the first result is not there", fn ->
  tasks = tasks.([])
  file = Path.join(folder.(), "file")
  options = [max_concurrency: 2, timeout: 500, on_timeout: :kill_task]

  tasks
  |> Task.Supervisor.async_stream_nolink(1..4, Work, :wait_if_first, [file], options)
  |> Enum.take(1)
  |> case do
    [ok: number] -> note("item #{number}")
    [exit: :timeout] -> note("timeout")
  end
end)

for how <- [:raise, :kill, :exit] do
  scenario("tasks: #{how}", fn ->
    tasks = tasks.([])
    task = Task.Supervisor.async_nolink(tasks, Work, :fail, [how])
    {:exit, reason} = Task.yield(task, 10_000)
    note(describe(reason))
    settled(tasks, task.pid)
    counts(tasks)
  end)
end

scenario("tasks: a stream with one that fails", fn ->
  tasks = tasks.([])

  for result <- Task.Supervisor.async_stream_nolink(tasks, [1, 2, 3], Work, :odd_only, []) do
    case result do
      {:ok, number} -> note("item #{number}")
      {:exit, reason} -> note(describe(reason))
    end
  end
end)

scenario("tasks: no result in time, and one later", fn ->
  file = Path.join(folder.(), "go")
  task = Task.Supervisor.async_nolink(tasks.([]), Work, :wait, [file])
  if Task.yield(task, 20) == nil, do: note("timeout")
  File.touch!(file)
  {:ok, _} = Task.yield(task, 10_000)
  note("a result")
end)

scenario("tasks: one that is not wanted any more", fn ->
  task = Task.Supervisor.async_nolink(tasks.([]), Work, :wait, [Path.join(folder.(), "never")])
  ref = Process.monitor(task.pid)
  Task.shutdown(task, :brutal_kill)
  note(down(ref))
end)

scenario("tasks: at most max_children", fn ->
  tasks = tasks.(max_children: 1)
  file = Path.join(folder.(), "go")
  {:ok, first} = Task.Supervisor.start_child(tasks, Work, :wait, [file])
  answer("second", Task.Supervisor.start_child(tasks, Work, :ten_times, [1]))
  File.touch!(file)
  settled(tasks, first)
  answer("third", Task.Supervisor.start_child(tasks, Work, :ten_times, [1]))
end)
