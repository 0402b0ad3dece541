defmodule LariatTest do
  # What needs no edge: processes are receivers, too. Alone, because what reaches nobody is an error
  # while an edge is on its way.
  use ExUnit.Case

  test "a process that logs in gets what is sent to its id" do
    :ok = Lariat.login({:user, "a"}, self())
    assert self() in Lariat.connections({:user, "a"})
    assert :ok = Lariat.send({:user, "a"}, ["Hel", "lo"])
    assert_receive "Hello", 20_000
    assert :ok = Lariat.send([{:user, "a"}, 7], "twice", event: "greeting", id: "17")
    assert_receive {:event, "greeting", "17", "twice"}, 20_000
    assert {:ok, 1} = Lariat.call({:user, "a"}, {:binary, "called"})
    assert_receive {:binary, "called"}, 20_000
    assert {:ok, 1} = Lariat.close({:user, "a"}, :enough)
    assert_receive {:close, :enough}, 20_000
    assert :ok = Lariat.logout(self())
    assert [] = Lariat.connections({:user, "a"})
  end

  test "subscribers get what is published" do
    :ok = Lariat.login({:user, "b"}, self())
    assert :ok = Lariat.subscribe({:user, "b"}, {:news, "b"})
    assert :ok = Lariat.add_subscriptions([{{:user, "b"}, {:news, "bb"}}])
    assert [{:user, "b"}] = Lariat.subscribers({:news, "b"})
    assert {:ok, 1} = Lariat.publish({:news, "b"}, "Guten Morgen", event: "headline")
    assert_receive {:event, "headline", "Guten Morgen"}, 20_000
    assert :ok = Lariat.unsubscribe({:user, "b"}, {:news, "b"})
    assert :ok = Lariat.remove_subscriptions([{{:user, "b"}, {:news, "bb"}}])
    assert {:ok, 0} = Lariat.publish({:news, "b"}, "nobody reads this")
  end

  test "a monitor ends as for any process" do
    {pid, _} = spawn_monitor(fn -> receive(do: (:stop -> exit(:stopped))) end)
    ref = Lariat.monitor(pid)
    send(pid, :stop)
    assert_receive {:DOWN, ^ref, :process, ^pid, :stopped}, 20_000
    assert Lariat.demonitor(ref)
  end

  test "what is no message, no option and no edge is said" do
    assert_raise ErlangError, ~r/bad_message/, fn -> Lariat.send(1, :atom) end
    assert_raise ErlangError, ~r/bad_option/, fn -> Lariat.send(1, "x", color: "red") end
    assert {:error, :too_large} = Lariat.send(1, String.duplicate("x", 32 * 1024 * 1024 + 1))
    assert {:error, :no_such_edge} = Lariat.detach(:nowhere@localhost)
    assert {:error, :no_such_edge} = Lariat.info(:nowhere@localhost)
    assert {:error, {:bad_edge, "edge"}} = Lariat.attach("edge")
  end

  test "every function of the Erlang API is here, under its name" do
    # Mnemonic of the compiler, and what Elixir calls by default arguments.
    theirs =
      for {name, arity} <- :lariat.module_info(:exports), name != :module_info, do: {name, arity}

    assert [] = theirs -- Lariat.__info__(:functions)
  end
end
