# Registries: keys, and who registered under them.

import Stage

defmodule Registrant do
  @moduledoc "Registers itself, and notes what reaches it."
  use GenServer

  def spec(id), do: %{id: id, start: {GenServer, :start_link, [__MODULE__, id]}}

  @impl true
  def init(id), do: {:ok, id}

  @impl true
  def handle_call({:register, registry, key, value}, _, id),
    do: {:reply, Registry.register(registry, key, value), id}

  def handle_call({:unregister, registry, key}, _, id),
    do: {:reply, Registry.unregister(registry, key), id}

  def handle_call({:update, registry, key, value}, _, id),
    do: {:reply, Registry.update_value(registry, key, fn _ -> value end), id}

  @impl true
  def handle_info({:news, text}, id) do
    note("hears #{text}")
    {:noreply, id}
  end
end

defmodule Listener do
  @moduledoc "Notes what comes and goes."
  use GenServer

  def spec do
    start = {GenServer, :start_link, [__MODULE__, nil, [name: __MODULE__]]}
    %{id: "listener", start: start}
  end

  @impl true
  def init(nil), do: {:ok, nil}

  @impl true
  def handle_info(news, nil) do
    note("#{elem(news, 0)} #{elem(news, 2)}")
    {:noreply, nil}
  end
end

registry = fn kind, options ->
  start(Supervisor.child_spec({Registry, [keys: kind, name: Keys, partitions: 1] ++ options}, []))
end

# Who is there, by the ids of three processes.
people = fn -> Map.new(~w(a b c), &{&1, start(Registrant.spec(&1))}) end
name = fn people, pid -> Enum.find_value(people, "nobody", fn {id, p} -> p == pid && id end) end

register = fn people, id, key, value ->
  case call(people[id], {:register, Keys, key, value}) do
    {:ok, _} -> note("#{id} registers #{key}: ok")
    {:error, {_, holder}} -> note("#{id} registers #{key}: #{name.(people, holder)} has it")
  end
end

lookup = fn people, key ->
  entries = for {pid, value} <- Registry.lookup(Keys, key), do: "#{name.(people, pid)} #{value}"
  note("#{key}: #{Enum.join(entries, ", ")}")
end

scenario("registry: a unique key that is taken", fn ->
  registry.(:unique, [])
  people = people.()
  for id <- ~w(a b a), do: register.(people, id, "k", 1)
  register.(people, "b", "other", 2)
  lookup.(people, "k")
  lookup.(people, "other")
  note("count #{Registry.count(Keys)}")
end)

scenario("registry: a key is free when its process ends", fn ->
  registry.(:unique, [])
  people = people.()
  register.(people, "a", "k", 1)
  ends(people["a"], :kill)
  register.(people, "b", "k", 2)
  lookup.(people, "k")
end)

scenario("registry: a key is free when its process gives it back", fn ->
  registry.(:unique, [])
  people = people.()
  register.(people, "a", "k", 1)
  # of others it is not taken
  for id <- ~w(b a a),
      do: note("#{id} unregisters: #{call(people[id], {:unregister, Keys, "k"})}")

  register.(people, "b", "k", 2)
  lookup.(people, "k")
end)

scenario("registry: only its process changes a value", fn ->
  registry.(:unique, [])
  people = people.()
  register.(people, "a", "k", 1)

  for id <- ~w(b a) do
    result = call(people[id], {:update, Keys, "k", 2})
    note("#{id} updates: #{if result == :error, do: "not registered", else: "ok"}")
  end

  lookup.(people, "k")
end)

scenario("registry: a duplicate key has any number, in order", fn ->
  registry.(:duplicate, [])
  people = people.()

  for {id, value} <- [{"b", 1}, {"a", 2}, {"c", 3}, {"a", 4}],
      do: register.(people, id, "k", value)

  lookup.(people, "k")
  note("keys of a: #{Enum.join(Registry.keys(Keys, people["a"]), ", ")}")
  call(people["a"], {:unregister, Keys, "k"})
  lookup.(people, "k")
  note("count #{Registry.count(Keys)}")
end)

scenario("registry: dispatch reaches each as often as it is there", fn ->
  registry.(:duplicate, [])
  people = people.()
  for id <- ~w(a b a), do: register.(people, id, "k", 1)

  for {key, text} <- [{"k", "news"}, {"other", "nothing"}] do
    Registry.dispatch(Keys, key, fn entries ->
      for {pid, _} <- entries, do: send(pid, {:news, text})
    end)
  end

  until("hears news", 3)
  # would come after what was sent to it
  call(people["c"], {:unregister, Keys, "k"})
end)

scenario("registry: listeners", fn ->
  start(Listener.spec())
  registry.(:unique, listeners: [Listener])
  %{"a" => a, "b" => b} = people.()
  call(a, {:register, Keys, "one", 1})
  until("register one")
  call(a, {:unregister, Keys, "one"})
  until("unregister one")
  call(a, {:register, Keys, "two", 1})
  until("register two")
  ends(a, :kill)
  # the next news comes after all that is said of the death
  call(b, {:register, Keys, "two", 1})
  until("register two", 2)
end)
