defmodule Live.Pulse do
  # Tells all readers once a second how this VM is.
  use GenServer

  @every_ms 1000

  def start_link(_options), do: GenServer.start_link(__MODULE__, [])

  @impl true
  def init(_options) do
    {:ok, _} = :timer.send_interval(@every_ms, :beat)
    {:ok, []}
  end

  @impl true
  def handle_info(:beat, state) do
    # Who is not there misses it, and so does everybody while there is no room.
    _ = Lariat.publish(:feed, pulse(), event: "pulse")
    {:noreply, state}
  end

  defp pulse do
    readers = Enum.count(Lariat.subscribers(:feed), &(Lariat.connections(&1) != []))
    megabytes = div(:erlang.memory(:total), 1024 * 1024)

    ~s({"readers":#{readers},"processes":#{:erlang.system_info(:process_count)},"megabytes":#{megabytes}})
  end
end
