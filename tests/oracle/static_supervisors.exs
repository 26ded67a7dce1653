# Supervisors whose children are known in advance.

import Stage

strategies = [:one_for_one, :one_for_all, :rest_for_one]
# Start and stop

scenario("start in order, stop in reverse", fn ->
  top = start(supervisor("top", abc()))
  note("started")
  ref = Process.monitor(top)
  stop(top)
  note("top #{down(ref)}")
end)

scenario("stop of a whole tree", fn ->
  inner = supervisor("inner", [worker("b"), worker("c")])
  top = start(supervisor("top", [worker("a"), inner, worker("d")]))
  counts(top)
  ref = Process.monitor(top)
  Supervisor.stop(top, :normal)
  note("top #{down(ref)}")
end)

scenario("stop: brutal_kill and a time-out", fn ->
  middle = [
    worker("b", shutdown: :brutal_kill),
    worker("c", shutdown: 50, terminate: :hang)
  ]

  top = start(supervisor("top", [worker("a")] ++ middle ++ [worker("d")]))
  refs = for id <- ~w(a b c d), do: {id, Process.monitor(child(top, id))}
  stop(top)
  for {id, ref} <- refs, do: note("#{id} #{down(ref)}")
end)

scenario("stop: what waits in the mailbox is handled first", fn ->
  top = start(supervisor("top", [worker("a")]))
  GenServer.cast(child(top, "a"), :hold)
  until("a holds")
  stopped = Task.async(fn -> Supervisor.terminate_child(top, "a") end)
  note("open")
  answer("terminate a", Task.await(stopped))
end)

for how <- [:raise, :stop, :ignore] do
  scenario("start: #{how} in the init of the middle child", fn ->
    children = [worker("a"), worker("b", init: %{1 => how}), worker("c")]
    result = try_start(supervisor("top", children))
    answer("start", result)
    with {:ok, top} <- result, do: children(top) && counts(top)
  end)
end

scenario("start: a temporary child that ignores is forgotten", fn ->
  top = start(supervisor("top", [worker("a", restart: :temporary, init: %{1 => :ignore})]))
  children(top)
end)

scenario("start: a grandchild fails", fn ->
  inner = supervisor("inner", [worker("b"), worker("c", init: %{1 => :raise})])
  answer("start", try_start(supervisor("top", [worker("a"), inner, worker("d")])))
end)

scenario("start: two children with one id", fn ->
  answer("start", try_start(supervisor("top", [worker("a"), worker("b"), worker("a")])))
end)

# Who is restarted

for strategy <- strategies, how <- [:crash, :kill], victim <- ~w(a b c) do
  scenario("#{strategy}: #{how} of #{victim}", fn ->
    top = start(supervisor("top", abc(), strategy: strategy))
    child_ends(top, victim, how)
    children(top)
  end)
end

for restart <- [:permanent, :transient, :temporary], {name, how} <- hows() do
  scenario("#{restart}: #{name}", fn ->
    top = start(supervisor("top", [worker("a"), worker("b", restart: restart), worker("c")]))
    child_ends(top, "b", how)
    children(top)
    counts(top)
  end)
end

for strategy <- [:one_for_all, :rest_for_one] do
  scenario("#{strategy}: a temporary sibling is forgotten", fn ->
    children = [worker("a"), worker("b", restart: :temporary), worker("c")]
    top = start(supervisor("top", children, strategy: strategy))
    child_ends(top, "a", :crash)
    children(top)
  end)

  scenario("#{strategy}: a stopped and a finished sibling start again", fn ->
    children = [worker("a"), worker("b"), worker("c", restart: :transient)]
    top = start(supervisor("top", children, strategy: strategy))
    answer("terminate b", Supervisor.terminate_child(top, "b"))
    child_ends(top, "c", :normal)
    children(top)
    child_ends(top, "a", :kill)
    children(top)
  end)

  scenario("#{strategy}: a sibling fails to start again", fn ->
    children = [worker("a"), worker("b"), worker("c", init: %{2 => :raise}), worker("d")]
    top = start(supervisor("top", children, strategy: strategy))
    child_ends(top, "b", :crash)
    children(top)
  end)
end

scenario("a killed supervisor: its children", fn ->
  top = start(supervisor("top", [supervisor("inner", [worker("a")], restart: :temporary)]))
  inner = child(top, "inner")
  ref = Process.monitor(child(inner, "a"))
  Process.exit(inner, :kill)
  note("a #{down(ref)}")
end)

# How many restarts

scenario("one restart too many: the supervisor ends, and is started again", fn ->
  top = start(supervisor("top", [supervisor("inner", abc(), max_restarts: 1)]))
  first = child(top, "inner")
  child_ends(first, "a", :crash)
  children(first)
  ref = Process.monitor(first)
  ends(child(first, "b"), :kill)
  reason = down(ref)
  settled(top, first)
  note("inner #{reason}")
  children(child(top, "inner"))
end)

scenario("no restart allowed", fn ->
  top = start(supervisor("top", abc(), max_restarts: 0))
  ref = Process.monitor(top)
  ends(child(top, "b"), :crash)
  note("top #{down(ref)}")
end)

scenario("no restart allowed: none is needed for what ends well", fn ->
  top = start(supervisor("top", [worker("a", restart: :transient)], max_restarts: 0))
  child_ends(top, "a", :shutdown)
  children(top)
end)

scenario("the budget is that of all children", fn ->
  top = start(supervisor("top", abc(), max_restarts: 2))
  for id <- ~w(a b), do: child_ends(top, id, :kill)
  ref = Process.monitor(top)
  ends(child(top, "c"), :kill)
  note("top #{down(ref)}")
end)

scenario("a group restart counts once", fn ->
  top = start(supervisor("top", abc(), strategy: :one_for_all, max_restarts: 1))
  child_ends(top, "b", :kill)
  ref = Process.monitor(top)
  ends(child(top, "b"), :kill)
  note("top #{down(ref)}")
end)

scenario("it goes up level by level", fn ->
  inner = supervisor("inner", [worker("a")], max_restarts: 0)
  top = start(supervisor("top", [inner, worker("b")], max_restarts: 1))
  first = child(top, "inner")
  ends(child(first, "a"), :crash)
  settled(top, first)
  ref = Process.monitor(top)
  ends(child(child(top, "inner"), "a"), :crash)
  note("top #{down(ref)}")
end)

scenario("a restart that fails is tried again", fn ->
  top = start(supervisor("top", [worker("a", init: %{2 => :raise, 3 => :stop}), worker("b")]))
  child_ends(top, "a", :crash)
  children(top)
end)

scenario("restarts that fail use up the budget", fn ->
  fails = Map.new(2..9, &{&1, :raise})
  top = start(supervisor("top", [worker("a"), worker("b", init: fails)], max_restarts: 2))
  ref = Process.monitor(top)
  ends(child(top, "b"), :kill)
  note("top #{down(ref)}")
end)

scenario("a child that ignores at its restart stays down", fn ->
  top = start(supervisor("top", [worker("a", init: %{2 => :ignore})]))
  child_ends(top, "a", :crash)
  children(top)
end)

# Requests

scenario("start_child", fn ->
  top = start(supervisor("top", [worker("a"), worker("b")]))
  answer("start c", Supervisor.start_child(top, worker("c")))
  answer("start a", Supervisor.start_child(top, worker("a")))
  answer("terminate b", Supervisor.terminate_child(top, "b"))
  answer("start b", Supervisor.start_child(top, worker("b")))
  answer("start d", Supervisor.start_child(top, worker("d", init: %{1 => :raise})))
  answer("start e", Supervisor.start_child(top, worker("e", init: %{1 => :ignore})))
  children(top)
  counts(top)
end)

scenario("restart_child and delete_child", fn ->
  top = start(supervisor("top", [worker("a"), worker("b", init: %{2 => :raise})]))
  answer("restart a", Supervisor.restart_child(top, "a"))
  answer("delete a", Supervisor.delete_child(top, "a"))
  for _ <- 1..2, do: answer("terminate a", Supervisor.terminate_child(top, "a"))
  answer("restart a", Supervisor.restart_child(top, "a"))
  answer("terminate b", Supervisor.terminate_child(top, "b"))
  answer("restart b", Supervisor.restart_child(top, "b"))
  children(top)
  answer("delete b", Supervisor.delete_child(top, "b"))

  for {what, request} <- [
        {"restart", &Supervisor.restart_child/2},
        {"delete", &Supervisor.delete_child/2},
        {"terminate", &Supervisor.terminate_child/2},
        {"get spec of", &:supervisor.get_childspec/2}
      ],
      do: answer("#{what} b", request.(top, "b"))

  children(top)
end)

scenario("a temporary child that is terminated is forgotten", fn ->
  top = start(supervisor("top", [worker("a", restart: :temporary), worker("b")]))
  for _ <- 1..2, do: answer("terminate a", Supervisor.terminate_child(top, "a"))
  answer("restart a", Supervisor.restart_child(top, "a"))
  answer("start a", Supervisor.start_child(top, worker("a")))
  children(top)
end)

scenario("a child that is started again by hand keeps its place", fn ->
  top = start(supervisor("top", abc()))
  answer("terminate b", Supervisor.terminate_child(top, "b"))
  answer("restart b", Supervisor.restart_child(top, "b"))
  stop(top)
end)

scenario("which_children: its own order", fn ->
  top = start(supervisor("top", abc()))
  ids = for {id, _, _, _} <- Supervisor.which_children(top), do: id
  note(Enum.join(ids, ", "))
end)

scenario("count_children of what runs and what does not", fn ->
  ends = worker("c", restart: :transient)
  top = start(supervisor("top", [supervisor("a", []), worker("b"), ends]))
  child_ends(top, "c", :normal)
  Supervisor.terminate_child(top, "a")
  counts(top)
end)

# Significant children

for {auto, restart, name, how} <- [
      {:any_significant, :transient, "normal", :normal},
      {:any_significant, :transient, "shutdown x", {:shutdown, :x}},
      {:any_significant, :transient, "crash", :crash},
      {:any_significant, :temporary, "kill", :kill},
      {:all_significant, :transient, "normal", :normal},
      {:all_significant, :temporary, "crash", :crash}
    ] do
  scenario("#{auto}: #{name} of a #{restart} child", fn ->
    significant = [restart: restart, significant: true]
    children = [worker("a", significant), worker("b"), worker("c", significant)]
    top = start(supervisor("top", children, auto_shutdown: auto))

    if how == :crash and restart == :transient do
      child_ends(top, "a", how)
      children(top)
    else
      ref = Process.monitor(top)
      # the supervisor that ends for the first one ends both
      for id <- if(auto == :any_significant, do: ["a"], else: ["a", "c"]),
          do: ends(child(top, id), how)

      note("top #{down(ref)}")
    end
  end)
end

scenario("significant: neither a plain child nor terminate_child ends it", fn ->
  significant = worker("a", restart: :transient, significant: true)
  plain = worker("b", restart: :transient)
  top = start(supervisor("top", [significant, plain], auto_shutdown: :any_significant))
  child_ends(top, "b", :normal)
  answer("terminate a", Supervisor.terminate_child(top, "a"))
  children(top)
end)

scenario("significant: a supervisor that ended itself ends the one above", fn ->
  options = [restart: :transient, significant: true]

  inner =
    supervisor("inner", [worker("a", options)], [auto_shutdown: :any_significant] ++ options)

  top = start(supervisor("top", [worker("b"), inner], auto_shutdown: :any_significant))
  ref = Process.monitor(top)
  ends(child(child(top, "inner"), "a"), :normal)
  note("top #{down(ref)}")
end)

scenario("significant: refused where nothing comes of it", fn ->
  significant = worker("a", restart: :transient, significant: true)
  answer("start", try_start(supervisor("top", [significant])))
  permanent = worker("a", significant: true)
  answer("start", try_start(supervisor("top", [permanent], auto_shutdown: :any_significant)))
end)
