defmodule Lariat.EdgeTest do
  # An edge as a child of a supervisor.
  use ExUnit.Case, async: true

  test "its options are what the Erlang API attaches" do
    assert %{nif: :edge, config: %{http: %{listen: ["127.0.0.1:0"]}}} =
             Lariat.Edge.config(name: :edge, http: "127.0.0.1:0")

    assert %{nif: :edge, config: "lariat.toml"} =
             Lariat.Edge.config(name: :edge, config: "lariat.toml")

    assert %{
             config: %{
               http: %{listen: ["127.0.0.1:0", "unix:/a"], route: [%{path: "/feed/{id}"}]},
               outbox: %{bytes_max: "1 MiB"}
             }
           } =
             Lariat.Edge.config(
               name: :edge,
               http: ["127.0.0.1:0", "unix:/a"],
               config: [http: [route: [[path: "/feed/{id}"]]], outbox: %{bytes_max: "1 MiB"}]
             )

    assert %{node: :lariat@localhost, command: "/usr/bin/lariat"} ==
             Lariat.Edge.config(node: :lariat@localhost, command: "/usr/bin/lariat")

    assert_raise KeyError, fn -> Lariat.Edge.config(http: "127.0.0.1:0") end
    assert_raise ArgumentError, fn -> Lariat.Edge.config(name: :edge, htpp: "127.0.0.1:0") end

    assert_raise ArgumentError, fn ->
      Lariat.Edge.config(name: :edge, http: "127.0.0.1:0", config: "lariat.toml")
    end
  end

  test "several have several children" do
    assert %{id: {Lariat, :a@localhost}} = Lariat.child_spec(node: :a@localhost)
    assert %{id: {Lariat, :edge}} = Lariat.child_spec(name: :edge, http: "127.0.0.1:0")
  end

  test "it is attached as long as it is supervised" do
    pid = start_supervised!({Lariat, node: :away@localhost})
    assert %{edges: %{away@localhost: %{state: :down}}} = Lariat.info()
    assert {:error, :already_attached} = Lariat.attach(:away@localhost)

    assert {:error, {:already_attached, _}} =
             start_supervised({Lariat, node: :away@localhost}, id: :twice)

    # A supervisor ends it as it began it.
    ref = Process.monitor(pid)
    :ok = stop_supervised({Lariat, :away@localhost})
    assert_receive {:DOWN, ^ref, :process, ^pid, :shutdown}, 20_000
    refute is_map_key(Lariat.info().edges, :away@localhost)
  end

  test "who is killed leaves the edge to the next" do
    children = [{Lariat, node: :killed@localhost}]

    sup =
      start_supervised!(%{
        id: :sup,
        restart: :temporary,
        start: {Supervisor, :start_link, [children, [strategy: :one_for_one]]}
      })

    [{_, pid, _, _}] = Supervisor.which_children(sup)
    Process.exit(pid, :kill)

    next =
      Lariat.Client.await(fn ->
        with [{_, next, _, _}] when next != pid <- Supervisor.which_children(sup),
             do: is_pid(next) and next,
             else: (_ -> false)
      end)

    assert Process.alive?(next)
    assert is_map_key(Lariat.info().edges, :killed@localhost)
    :ok = Supervisor.stop(sup)
    refute is_map_key(Lariat.info().edges, :killed@localhost)
  end
end
