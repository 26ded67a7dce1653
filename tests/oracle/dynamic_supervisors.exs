# Supervisors whose children come and go, and partitions.

import Stage

scenario("dynamic: at most max_children", fn ->
  top = start(dynamic(max_children: 2))
  {:ok, a} = DynamicSupervisor.start_child(top, worker("a"))
  for id <- ~w(b c), do: answer("start #{id}", DynamicSupervisor.start_child(top, worker(id)))
  answer("terminate a", DynamicSupervisor.terminate_child(top, a))
  answer("start c", DynamicSupervisor.start_child(top, worker("c")))
  counts(top)
end)

scenario("dynamic: terminate_child of one that is not there", fn ->
  top = start(dynamic())
  {:ok, a} = DynamicSupervisor.start_child(top, worker("a"))
  for _ <- 1..2, do: answer("terminate a", DynamicSupervisor.terminate_child(top, a))
  counts(top)
end)

for restart <- [:permanent, :transient, :temporary], {name, how} <- hows() do
  scenario("dynamic, #{restart}: #{name}", fn ->
    top = start(dynamic())
    {:ok, a} = DynamicSupervisor.start_child(top, worker("a", restart: restart))
    {:ok, _} = DynamicSupervisor.start_child(top, worker("b"))
    ends(a, how)
    settled(top, a)
    counts(top)
  end)
end

scenario("dynamic: all children stop at once", fn ->
  top = start(dynamic())

  for number <- 1..3,
      do: DynamicSupervisor.start_child(top, worker("a", terminate: {:meet, 3}, id: number))

  ref = Process.monitor(top)
  stop(top)
  note("top #{down(ref)}")
end)

scenario("dynamic: a start that fails, or ignores, keeps nothing", fn ->
  top = start(dynamic())

  for how <- [:raise, :stop, :ignore] do
    child = worker("#{how}", init: %{1 => how})
    answer("start", DynamicSupervisor.start_child(top, child))
  end

  counts(top)
end)

scenario("dynamic: one restart too many", fn ->
  top = start(dynamic(max_restarts: 1))
  {:ok, a} = DynamicSupervisor.start_child(top, worker("a"))
  {:ok, b} = DynamicSupervisor.start_child(top, worker("b"))
  ends(a, :kill)
  settled(top, a)
  ref = Process.monitor(top)
  ends(b, :kill)
  note("top #{down(ref)}")
end)

scenario("dynamic: a restart that fails is tried again", fn ->
  top = start(dynamic())
  {:ok, a} = DynamicSupervisor.start_child(top, worker("a", init: %{2 => :raise, 3 => :raise}))
  ends(a, :crash)
  settled(top, a)
  counts(top)
end)

scenario("dynamic: a child that ignores at its restart is forgotten", fn ->
  top = start(dynamic())
  {:ok, a} = DynamicSupervisor.start_child(top, worker("a", init: %{2 => :ignore}))
  ends(a, :crash)
  settled(top, a)
  counts(top)
end)

scenario("dynamic: two children with one id", fn ->
  top = start(dynamic())
  for _ <- 1..2, do: answer("start a", DynamicSupervisor.start_child(top, worker("a")))
  counts(top)
end)

scenario("partitions: one that dies is replaced alone", fn ->
  parts = {PartitionSupervisor, name: Parts, partitions: 3, child_spec: worker("a")}
  top = start(Supervisor.child_spec(parts, []))
  counts(top)
  all = for key <- [0, 1, 2, 3], do: GenServer.whereis({:via, PartitionSupervisor, {Parts, key}})
  note("key 3 is with key 0: #{Enum.at(all, 3) == Enum.at(all, 0)}")
  [zero, one, two | _] = all
  ends(one, :kill)
  settled(top, one)
  now = for key <- [0, 1, 2], do: GenServer.whereis({:via, PartitionSupervisor, {Parts, key}})
  note("the same: #{inspect(Enum.zip_with(now, [zero, one, two], &==/2))}")
  stop(top)
end)
