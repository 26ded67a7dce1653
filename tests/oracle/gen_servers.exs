# Servers, and whoever calls them.

import Stage

defmodule Server do
  @moduledoc "Does what it is asked. `mode` says how it begins or ends."
  use GenServer

  def spec(mode \\ :plain), do: %{id: "server", start: {__MODULE__, :start_link, [mode]}}
  def start_link(mode), do: GenServer.start_link(__MODULE__, mode)

  @impl true
  def init(mode) do
    Process.flag(:trap_exit, true)
    note("init")
    state = %{mode: mode, waiting: []}

    if mode == :continue do
      GenServer.cast(self(), {:say, "waits"})
      {:ok, state, {:continue, 1}}
    else
      {:ok, state}
    end
  end

  @impl true
  def handle_continue(number, state) do
    note("continue #{number}")
    if number == 1, do: {:noreply, state, {:continue, 2}}, else: {:noreply, state}
  end

  @impl true
  def handle_call(:get, _, state), do: {:reply, "got", state}
  def handle_call(:raise, _, _), do: raise("told to")
  def handle_call(:bad, _, _), do: :bad
  def handle_call(:exit, _, _), do: exit(:normal)
  def handle_call({:stop, reason}, _, state), do: {:stop, reason, state}
  def handle_call({:stop, reason, answer}, _, state), do: {:stop, reason, answer, state}
  def handle_call({:idle, time}, _, state), do: {:reply, :ok, state, time}

  def handle_call({:ask, pid, request, time}, _, state),
    do: {:reply, call(pid, request, time), state}

  def handle_call(:ask_yourself, _, state), do: {:reply, call(self(), :get), state}

  def handle_call({:later, number}, from, state) do
    note("later #{number}")
    {:noreply, %{state | waiting: [{from, number} | state.waiting]}}
  end

  def handle_call(:hold, _, state) do
    note("holds")
    until("open")
    {:reply, "held", state}
  end

  # the message is behind this call in the mailbox
  def handle_call(:say_and_raise, _, _) do
    GenServer.cast(self(), {:say, "lost"})
    raise "told to"
  end

  def handle_call(:say_and_idle, _, state) do
    GenServer.cast(self(), {:say, "not idle"})
    {:reply, :ok, state, 20}
  end

  def handle_call(:cancel_timer, _, state) do
    timer = Process.send_after(self(), {:say, "cancelled"}, 20)
    Process.cancel_timer(timer)
    Process.send_after(self(), {:say, "later"}, 40)
    {:reply, :ok, state}
  end

  @impl true
  def handle_cast({:say, text}, state) do
    note("says #{text}")
    {:noreply, state}
  end

  # those who came last are answered first
  def handle_cast(:answer, state) do
    for {from, number} <- state.waiting, do: GenServer.reply(from, "answer #{number}")
    {:noreply, %{state | waiting: []}}
  end

  def handle_cast({:end, :crash}, _), do: raise("told to")
  def handle_cast({:end, reason}, state), do: {:stop, reason, state}

  @impl true
  def handle_info(:timeout, state) do
    note("idle")
    {:noreply, state}
  end

  def handle_info({:say, text}, state), do: handle_cast({:say, text}, state)

  @impl true
  def terminate(reason, state) do
    note("terminate #{describe(reason)}")
    if state.mode == :bad_end, do: raise("told to")
  end
end

scenario("server: answers may come later, in any order", fn ->
  server = start(Server.spec())

  calls =
    for number <- 1..2 do
      call = Task.async(fn -> call(server, {:later, number}) end)
      until("later #{number}")
      call
    end

  GenServer.cast(server, :answer)
  for call <- calls, do: note(Task.await(call))
end)

for {name, how} <- hows() do
  scenario("server: #{name} while somebody waits for an answer", fn ->
    server = start(Server.spec())
    call = Task.async(fn -> call(server, {:later, 1}) end)
    until("later 1")
    note("server #{ends(server, how)}")
    note("caller: #{Task.await(call)}")
  end)
end

scenario("server: handle_continue comes before what waits", fn ->
  start(Server.spec(:continue))
  until("says waits")
end)

scenario("server: messages of one sender come in order", fn ->
  server = start(Server.spec())
  for number <- 1..5, do: GenServer.cast(server, {:say, number})
  note(call(server, :get))
end)

scenario("server: an idle time-out comes once", fn ->
  server = start(Server.spec())
  call(server, {:idle, 20})
  until("idle")
  call(server, :cancel_timer)
  until("says later")
end)

scenario("server: any message clears the idle time-out", fn ->
  server = start(Server.spec())
  call(server, :say_and_idle)
  call(server, :cancel_timer)
  until("says later")
end)

for {name, request} <- [
      {"stops", {:stop, :normal}},
      {"stops with shutdown", {:stop, :shutdown}},
      {"stops with a detail", {:stop, {:shutdown, :x}}},
      {"stops with an answer", {:stop, :normal, "bye"}},
      {"raises", :raise},
      {"returns nonsense", :bad},
      {"exits", :exit}
    ] do
  scenario("server: handle_call #{name}", fn ->
    server = start(Server.spec())
    ref = Process.monitor(server)
    note("caller: #{call(server, request)}")
    note("server #{down(ref)}")
  end)
end

scenario("server: terminate raises", fn ->
  server = start(Server.spec(:bad_end))
  ref = Process.monitor(server)
  note("caller: #{call(server, {:stop, :normal, "bye"})}")
  note("server #{down(ref)}")
end)

scenario("server: what waits behind a crash is lost, and the call not handled again", fn ->
  top = start(supervisor("top", [Server.spec()]))
  server = child(top, "server")
  note("caller: #{call(server, :say_and_raise)}")
  settled(top, server)
  note(call(child(top, "server"), :get))
end)

scenario("server: a late answer is dropped", fn ->
  server = start(Server.spec())
  note("caller: #{call(server, :hold, 50)}")
  note("open")
  note("caller: #{call(server, :get)}")
end)

scenario("server: dead", fn ->
  server = start(Server.spec())
  ends(server, :kill)
  note("call: #{call(server, :get)}")
  note("cast: #{GenServer.cast(server, {:say, "x"})}")
  send(server, {:say, "x"})

  try do
    GenServer.stop(server)
  catch
    :exit, {reason, {GenServer, :stop, _}} -> note("stop: #{describe(reason)}")
  end
end)

scenario("server: nobody has that name", fn ->
  note("call: #{call(:nobody, :get)}")
  note("cast: #{GenServer.cast(:nobody, {:say, "x"})}")
  note("whereis: #{GenServer.whereis(:nobody) || "nobody"}")
end)

for {name, reason} <- Enum.take(hows(), 3) do
  scenario("server: stopped from outside with #{name}", fn ->
    top = start(supervisor("top", [Map.put(Server.spec(), :restart, :transient)]))
    server = child(top, "server")
    GenServer.stop(server, reason)
    settled(top, server)
    children(top)
  end)
end

scenario("server: one that calls itself", fn ->
  note(call(start(Server.spec()), :ask_yourself))
end)

scenario("server: two that call each other", fn ->
  [one, two] = for _ <- 1..2, do: start(Server.spec())
  note(call(one, {:ask, two, {:ask, one, :get, 50}, 10_000}))
  note(call(one, {:ask, two, :get, 10_000}))
end)

for {name, request} <- [{"crashes", :raise}, {"stops", {:stop, {:shutdown, :x}}}] do
  scenario("server: one that asks another one, which #{name}", fn ->
    [one, two] = for _ <- 1..2, do: start(Server.spec())
    note(call(one, {:ask, two, request, 10_000}))
    note(call(one, {:ask, two, :get, 10_000}))
  end)
end

scenario("server: a call that it does not know", fn ->
  server = start(Server.spec())
  note("caller: #{call(server, :unknown)}")
  note("then: #{call(server, :get)}")
end)

scenario("server: a cast that it does not know", fn ->
  server = start(Server.spec())
  GenServer.cast(server, :unknown)
  note("then: #{call(server, :get)}")
end)
