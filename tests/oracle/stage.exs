# What the scenarios need: a journal of what happens, a worker that does as it is told, and one
# word for each answer and reason. `stage.py` says the same in Python.

false = Node.alive?()
:logger.set_primary_config(:level, :none)

defmodule Journal do
  @moduledoc "The lines that were observed, in the order in which they were."
  use GenServer

  @patience 10_000

  def start_link, do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  # Returns how often that line is there now, so that a process knows which life it is.
  def note(line), do: GenServer.call(__MODULE__, {:note, line}, @patience)

  # Returns once the line is there so many times.
  def until(line, times \\ 1), do: GenServer.call(__MODULE__, {:until, line, times}, @patience)

  def take, do: GenServer.call(__MODULE__, :take)

  @impl true
  def init(nil), do: {:ok, {[], []}}

  @impl true
  def handle_call({:note, line}, _from, {lines, waiting}) do
    lines = [line | lines]
    count = Enum.count(lines, &(&1 == line))

    {now, waiting} =
      Enum.split_with(waiting, fn {wanted, times, _} -> wanted == line and times <= count end)

    for {_, _, from} <- now, do: GenServer.reply(from, :ok)
    {:reply, count, {lines, waiting}}
  end

  def handle_call({:until, line, times}, from, {lines, waiting}) do
    if Enum.count(lines, &(&1 == line)) >= times,
      do: {:reply, :ok, {lines, waiting}},
      else: {:noreply, {lines, [{line, times, from} | waiting]}}
  end

  def handle_call(:take, _from, {lines, _}), do: {:reply, Enum.reverse(lines), {[], []}}
end

defmodule Worker do
  @moduledoc "Notes its life. `init:` says what it does in which life, `terminate:` what at its end."
  use GenServer

  def start_link(id, plan), do: GenServer.start_link(__MODULE__, {id, plan})

  @impl true
  def init({id, plan}) do
    Process.flag(:trap_exit, true)

    case plan[:init][Journal.note("init #{id}")] do
      nil -> {:ok, {id, plan}}
      :raise -> raise "told to"
      :stop -> {:stop, :told_to}
      :ignore -> :ignore
    end
  end

  @impl true
  def handle_cast({:end, :crash}, _state), do: raise("told to")
  def handle_cast({:end, reason}, state), do: {:stop, reason, state}

  # Has two messages in its mailbox when it lets itself be stopped.
  def handle_cast(:hold, {id, _} = state) do
    for text <- ["one", "two"], do: GenServer.cast(self(), {:say, text})
    Journal.note("#{id} holds")
    Journal.until("open")
    {:noreply, state}
  end

  def handle_cast({:say, text}, {id, _} = state) do
    Journal.note("#{id} #{text}")
    {:noreply, state}
  end

  @impl true
  def terminate(reason, {id, plan}) do
    Journal.note("terminate #{id} #{Stage.describe(reason)}")

    case plan[:terminate] do
      nil -> :ok
      :hang -> Process.sleep(:infinity)
      :raise -> raise "told to"
      # returns only if so many are in theirs at once
      {:meet, number} -> Journal.until("terminate #{id} shutdown", number)
    end
  end
end

defmodule Group do
  @moduledoc "A supervisor of what it is given."
  use Supervisor

  @impl true
  def init({children, flags}) do
    {auto_shutdown, flags} = Keyword.pop(flags, :auto_shutdown, :never)

    {:ok, {flags, specs}} =
      Supervisor.init(children, Keyword.put_new(flags, :strategy, :one_for_one))

    # which Elixir 1.14 would drop
    {:ok, {Map.put(flags, :auto_shutdown, auto_shutdown), specs}}
  end
end

defmodule Stage do
  @moduledoc "The vocabulary of the scenarios."
  @patience 10_000

  def scenario(name, body) do
    {pid, ref} = spawn_monitor(body)

    receive do
      {:DOWN, ^ref, _, _, :normal} -> :ok
      {:DOWN, ^ref, _, _, reason} -> note("failed: #{inspect(reason)}")
    after
      3 * @patience ->
        Process.exit(pid, :kill)
        note("failed: it does not end")
    end

    IO.puts(["## ", name])
    for line <- Journal.take(), do: IO.puts(line)
    for {_, pid, _, _} <- DynamicSupervisor.which_children(Stage), do: stop(pid)
    Journal.take()
  end

  defdelegate note(line), to: Journal
  defdelegate until(line, times \\ 1), to: Journal

  # The ways to end, and what they are called.
  def hows do
    [
      {"normal", :normal},
      {"shutdown", :shutdown},
      {"shutdown x", {:shutdown, :x}},
      {"crash", :crash},
      {"kill", :kill}
    ]
  end

  # Specs

  def worker(id, options \\ []) do
    {plan, spec} = Keyword.split(options, [:init, :terminate])
    Enum.into(spec, %{id: id, start: {Worker, :start_link, [id, Map.new(plan)]}})
  end

  def abc, do: [worker("a"), worker("b"), worker("c")]

  def supervisor(id, children, options \\ []) do
    {spec, flags} = Keyword.split(options, [:restart, :significant])
    start = {Supervisor, :start_link, [Group, {children, flags}]}
    Enum.into(spec, %{id: id, type: :supervisor, start: start})
  end

  def dynamic(flags \\ []) do
    start = {DynamicSupervisor, :start_link, [[strategy: :one_for_one] ++ flags]}
    %{id: "dynamic", type: :supervisor, start: start}
  end

  # What is done

  def try_start(spec),
    do: DynamicSupervisor.start_child(Stage, Map.put(spec, :restart, :temporary))

  def start(spec) do
    {:ok, pid} = try_start(spec)
    pid
  end

  def stop(pid), do: DynamicSupervisor.terminate_child(Stage, pid)

  def child(supervisor, id) do
    {_, pid, _, _} = List.keyfind(Supervisor.which_children(supervisor), id, 0)
    pid
  end

  # Has a process end; returns its reason.
  def ends(pid, how) do
    ref = Process.monitor(pid)
    if how == :kill, do: Process.exit(pid, :kill), else: GenServer.cast(pid, {:end, how})
    down(ref)
  end

  def down(ref) do
    receive do
      {:DOWN, ^ref, _, _, reason} -> describe(reason)
    after
      @patience -> raise "no DOWN"
    end
  end

  # Has a child end, and waits until its supervisor has dealt with that.
  def child_ends(supervisor, id, how) do
    pid = child(supervisor, id)
    ends(pid, how)
    settled(supervisor, pid)
  end

  # The news of a death comes to its supervisor and to us apart: who asks the supervisor may be first.
  def settled(supervisor, dead, tries \\ 5000) when tries > 0 do
    pids = for {_, pid, _, _} <- Supervisor.which_children(supervisor), do: pid

    if dead in pids or :restarting in pids do
      Process.sleep(1)
      settled(supervisor, dead, tries - 1)
    end
  end

  # What is noted

  def children(supervisor) do
    # Elixir has the last started first, which a scenario of its own shows
    list =
      for {id, pid, _, _} <- Supervisor.which_children(supervisor), do: "#{id} #{status(pid)}"

    note("children: #{list |> Enum.reverse() |> Enum.join(", ")}")
  end

  defp status(:undefined), do: "stopped"
  defp status(:restarting), do: "restarting"
  defp status(pid) when is_pid(pid), do: "running"

  def counts(supervisor) do
    counts = Supervisor.count_children(supervisor)
    note(Enum.map_join([:specs, :active, :supervisors, :workers], " ", &"#{&1} #{counts[&1]}"))
  end

  def answer(what, result), do: note("#{what}: #{word(result)}")

  defp word(:ok), do: "ok"
  defp word(:ignore), do: "ignored"
  defp word({:ok, :undefined}), do: "ignored"
  defp word({:ok, pid}) when is_pid(pid), do: "started"

  defp word({:error, {:already_started, pid}}),
    do: "already started, it #{if Process.alive?(pid), do: "lives", else: "is dead"}"

  defp word({:error, word})
       when word in [:already_present, :not_found, :running, :restarting, :max_children],
       do: String.replace("#{word}", "_", " ")

  defp word({:error, {reason, child}}) when elem(child, 0) == :child, do: word({:error, reason})
  defp word({:error, reason}), do: "failed: #{describe(reason)}"

  # What a caller gets, or with what he exits.
  def call(pid, request, timeout \\ @patience) do
    GenServer.call(pid, request, timeout)
  catch
    :exit, {reason, {GenServer, :call, _}} -> describe(reason)
  end

  def describe({:shutdown, {:failed_to_start_child, id, reason}}), do: "#{id} #{describe(reason)}"
  def describe({:shutdown, detail}), do: "shutdown #{detail}"

  def describe(reason)
      when reason in [:normal, :shutdown, :killed, :noproc, :timeout, :calling_self],
      do: String.replace("#{reason}", "_", " ")

  # an exception with its stack, or any other term
  def describe(_), do: "crash"
end

{:ok, _} = Journal.start_link()
{:ok, _} = DynamicSupervisor.start_link(strategy: :one_for_one, name: Stage)
