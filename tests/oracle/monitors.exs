# What a monitor says of each way to end.

import Stage

defmodule Watcher do
  @moduledoc "A process that watches others."
  use GenServer

  def spec, do: %{id: "watcher", start: {GenServer, :start_link, [__MODULE__, nil]}}

  @impl true
  def init(nil), do: {:ok, nil}

  @impl true
  def handle_call({:monitor, pid}, _, state), do: {:reply, Process.monitor(pid), state}
  def handle_call({:demonitor, ref}, _, state), do: {:reply, Process.demonitor(ref), state}

  @impl true
  def handle_info({:DOWN, _, _, _, reason}, state) do
    note("down: #{describe(reason)}")
    {:noreply, state}
  end
end

for {name, how} <- hows() do
  scenario("monitor: #{name}", fn ->
    a = start(worker("a"))
    watcher = start(Watcher.spec())
    call(watcher, {:monitor, a})
    reason = ends(a, how)
    until("down: #{reason}")
    note(reason)
  end)
end

scenario("monitor: dead already", fn ->
  a = start(worker("a"))
  ends(a, :shutdown)
  note(down(Process.monitor(a)))
  call(start(Watcher.spec()), {:monitor, a})
  until("down: noproc")
end)

scenario("monitor: each monitor tells once, and none that was taken back", fn ->
  a = start(worker("a"))
  watcher = start(Watcher.spec())
  for _ <- 1..2, do: call(watcher, {:monitor, a})
  call(watcher, {:demonitor, call(watcher, {:monitor, a})})
  ends(a, :kill)
  until("down: killed", 2)
  call(watcher, {:monitor, a})
  until("down: noproc")
end)

for {name, options} <- [
      {"in time", []},
      {"too late", [shutdown: 50, terminate: :hang]},
      {"brutally", [shutdown: :brutal_kill]},
      {"and its terminate raises", [terminate: :raise]}
    ] do
  scenario("monitor: stopped by its supervisor, #{name}", fn ->
    top = start(supervisor("top", [worker("a", options)]))
    ref = Process.monitor(child(top, "a"))
    answer("terminate a", Supervisor.terminate_child(top, "a"))
    note(down(ref))
  end)
end

for how <- [:stop, :raise] do
  scenario("monitor: of a supervisor whose child cannot start again: #{how}", fn ->
    top = start(supervisor("top", [worker("a", init: Map.new(2..9, &{&1, how}))]))
    ref = Process.monitor(top)
    ends(child(top, "a"), :crash)
    note(down(ref))
  end)
end
