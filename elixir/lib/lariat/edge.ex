defmodule Lariat.Edge do
  @moduledoc false
  # An edge in a supervision tree of the application's own: attached as long as this process lives.
  #
  # It holds nothing but what it attaches: what runs the edge and keeps it running is supervised by `:lariat`.
  # When that has to begin anew, or is stopped and started again, it attaches the edge again, as often as that
  # takes: no supervisor of the application's gives up because of it.
  use GenServer

  # As for an edge whose port is in use.
  @pause_ms {200, 30_000}

  @type option ::
          {:name, atom}
          | {:http, String.t() | [String.t()]}
          | {:config, Path.t() | map | keyword}
          | {:node, node}
          | {:command, Path.t()}
          | {:args, [String.t()]}
          | {:cd, Path.t()}
          | {:env, [{charlist, charlist}]}

  @spec child_spec([option]) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: {Lariat, edge(config(options))},
      start: {Lariat, :start_link, [options]},
      # Its connections leave, in the time that its configuration has for that.
      shutdown: :infinity
    }
  end

  @spec start_link([option]) :: GenServer.on_start()
  def start_link(options), do: GenServer.start_link(__MODULE__, config(options))

  @impl true
  def init(config) do
    # So that `terminate/2` is called when the supervisor ends us.
    Process.flag(:trap_exit, true)
    edge = edge(config)

    case attach(config, edge) do
      :ok -> {:ok, attached(%{config: config, edge: edge, attempt: 0})}
      {:error, reason} -> {:stop, reason}
    end
  end

  @impl true
  def handle_info({:DOWN, _, :process, _, _reason}, state), do: {:noreply, again(state)}
  def handle_info(:again, state), do: {:noreply, again(state)}
  def handle_info({:EXIT, _, reason}, state), do: {:stop, reason, state}

  @impl true
  def terminate(_reason, %{edge: edge}) do
    :persistent_term.erase({__MODULE__, edge})
    with {:error, _} <- :lariat.drain(edge), do: :lariat.detach(edge)
  rescue
    # `:lariat` has ended before us, or at this moment.
    ArgumentError -> :ok
  catch
    :exit, _ -> :ok
  end

  # What it starts afresh has only the edges of the environment.
  defp attached(%{edge: edge} = state) do
    :persistent_term.put({__MODULE__, edge}, self())
    Process.monitor(:lariat_edge_sup)
    %{state | attempt: 0}
  end

  defp again(%{config: config, edge: edge, attempt: attempt} = state) do
    case try_to_attach(config, edge) do
      :ok ->
        attached(state)

      {:error, reason} ->
        pause_ms = :lariat_backoff.delay_ms(attempt, @pause_ms, :rand.uniform())
        said = [edge, reason, pause_ms]
        :logger.warning("edge ~ts cannot be attached again: ~0tp; trying in ~b ms", said)
        Process.send_after(self(), :again, pause_ms)
        %{state | attempt: attempt + 1}
    end
  end

  # There may be nobody to attach it.
  defp try_to_attach(config, edge) do
    attach(config, edge)
  catch
    :exit, {reason, _} -> {:error, reason}
  end

  # Who was killed could not let go of the edge. Its connections stay.
  defp attach(config, edge) do
    with {:error, :already_attached} = error <- :lariat.attach(config) do
      case :persistent_term.get({__MODULE__, edge}, nil) do
        nil -> error
        pid -> if pid != self() and Process.alive?(pid), do: error, else: :ok
      end
    end
  end

  # What `:lariat.attach/1` takes.
  @spec config([option]) :: map
  def config(options) do
    if Keyword.has_key?(options, :node) do
      Map.new(options)
    else
      {name, options} = Keyword.pop!(options, :name)
      {http, options} = Keyword.pop(options, :http)
      {config, options} = Keyword.pop(options, :config, %{})
      options == [] || raise ArgumentError, "unknown options of an edge: #{inspect(options)}"
      %{nif: name, config: listening(plain(config), http)}
    end
  end

  defp edge(%{node: node}), do: node
  defp edge(%{nif: name}), do: name

  defp listening(config, nil), do: config

  defp listening(config, http) when is_map(config) do
    Map.update(config, :http, %{listen: List.wrap(http)}, &Map.put(&1, :listen, List.wrap(http)))
  end

  defp listening(_path, _http) do
    raise ArgumentError, "where a file has the configuration, it says where to listen, not :http"
  end

  # Keyword lists are maps to the edge, whatever they stand in.
  @spec plain(term) :: term
  def plain([{key, _} | _] = keyword) when is_atom(key), do: plain(Map.new(keyword))
  def plain(list) when is_list(list), do: Enum.map(list, &plain/1)
  def plain(map) when is_map(map), do: Map.new(map, fn {key, value} -> {key, plain(value)} end)
  def plain(other), do: other
end
