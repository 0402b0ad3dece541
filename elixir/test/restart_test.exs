defmodule Lariat.RestartTest do
  # What becomes of edges in a supervision tree when `:lariat` begins anew under them. Nobody else may be
  # in this VM meanwhile.
  use ExUnit.Case, async: false

  import Lariat.Client

  setup do
    # One that is not given to anybody, so that it is the same afterwards.
    port = 10_000 + :rand.uniform(20_000)
    address = "127.0.0.1:#{port}"

    children = [
      {Lariat, name: :again, http: address},
      {Lariat, node: :again@localhost}
    ]

    sup =
      start_supervised!(%{
        id: :sup,
        start: {Supervisor, :start_link, [children, [strategy: :one_for_one, max_restarts: 0]]},
        type: :supervisor
      })

    await(fn -> Lariat.info().edges[:again].state == :up end)
    %{sup: sup, address: address}
  end

  test "its supervisor crashes", context do
    stream = held(context)
    before = Supervisor.which_children(context.sup)
    sup = Process.whereis(:lariat_edge_sup)
    Process.exit(sup, :kill)
    # It ends, in order or not.
    assert :closed == until_closed(stream)
    is_back(context, sup)
    assert before == Supervisor.which_children(context.sup)
    let_go(context)
  end

  test "it is stopped and started", context do
    stream = held(context)
    before = Supervisor.which_children(context.sup)
    sup = Process.whereis(:lariat_edge_sup)
    :ok = Application.stop(:lariat)
    assert hear_all(stream) =~ ~r/retry: \d+.*retry: \d+/s
    :ok = Application.start(:lariat)
    is_back(context, sup)
    assert before == Supervisor.which_children(context.sup)
    let_go(context)
  end

  test "it has ended for good, and the tree ends after it", context do
    :ok = Application.stop(:lariat)
    :ok = stop_supervised(:sup)
    :ok = Application.start(:lariat)
    refute is_map_key(Lariat.info().edges, :again)
    refute context.sup in Process.list()
  end

  defp held(%{address: address}) do
    stream = get(address, "/stream/g1", "Accept: text/event-stream\r\n")
    await(fn -> Lariat.connections("g1") end)
    stream
  end

  defp is_back(%{address: address}, before) do
    await(fn -> Process.whereis(:lariat_edge_sup) not in [nil, before] end)
    await(fn -> is_map_key(Lariat.info().edges, :again@localhost) end)
    # What the one before has told of is gone.
    await(fn -> up?() and Lariat.connections("g1") == [] end)
    stream = get(address, "/stream/g2", "Accept: text/event-stream\r\n")
    await(fn -> Lariat.connections("g2") end)
    :ok = Lariat.send("g2", "again")
    hear(stream, "data: again")
  end

  defp up?, do: match?(%{again: %{state: :up}}, Lariat.info().edges)

  defp let_go(%{address: address}) do
    :ok = stop_supervised(:sup)
    assert Lariat.info().edges == %{}
    [host, port] = String.split(address, ":")

    assert {:error, :econnrefused} =
             :gen_tcp.connect(String.to_charlist(host), String.to_integer(port), [])
  end

  defp until_closed(socket) do
    case :gen_tcp.recv(socket, 0, 60_000) do
      {:ok, _} -> until_closed(socket)
      {:error, reason} when reason in [:closed, :econnreset] -> :closed
    end
  end
end
