defmodule Lariat.VmTest do
  # Edges in this VM: real sockets, real handlers.
  use ExUnit.Case, async: true

  import Lariat.Client

  @routes [
    [path: "/stream/{id}"],
    [path: "/hello", kind: "request", handler: "hello"],
    [path: "/crash", kind: "request", handler: "hello"],
    [path: "/guest/{id}", access: "ask", handler: "hello"],
    [path: "/ws/{id}", kind: "websocket", access: "ask", handler: "hello"]
  ]

  setup %{line: line} do
    edge = :"edge_#{line}"
    start_supervised!({Lariat, name: edge, http: "127.0.0.1:0", config: [http: [route: @routes]]})
    # What has a handler is refused until the owner has said that it serves it.
    await(fn -> Lariat.info().edges[edge].state == :up end)
    {:ok, %{http_addresses: [address]}} = Lariat.info(edge)
    %{edge: edge, address: address}
  end

  test "what is sent reaches a stream", %{address: address} do
    id = {:only, :a}
    stream = get(address, "/stream/a1", "Accept: text/event-stream\r\n")
    await(fn -> Lariat.connections("a1") end)
    assert :ok = Lariat.send("a1", "Hello", event: "greeting", id: "17")
    assert hear(stream, "data: Hello") =~ "event: greeting"
    assert {:ok, 1} = Lariat.call("a1", ["Hello ", "again"])
    hear(stream, "data: Hello again")
    :ok = Lariat.subscribe("a1", id)
    assert {:ok, 1} = Lariat.publish(id, "published")
    hear(stream, "data: published")
    :ok = Lariat.unsubscribe("a1", id)
  end

  test "one connection is sent to, monitored and closed", %{edge: edge, address: address} do
    [one, two] = for _ <- 1..2, do: get(address, "/stream/b1")

    [conn, other] =
      await(fn -> match?([_, _], Lariat.connections("b1")) && Lariat.connections("b1") end)

    assert {:lariat_conn, ^edge, _, _} = conn
    ref = Lariat.monitor(conn)
    other_ref = Lariat.monitor(other)
    assert :ok = Lariat.send(conn, "for one alone")
    assert {:ok, 1} = Lariat.close(conn, :enough)
    assert_receive {:DOWN, ^ref, :process, ^conn, :enough}, 15_000
    assert {:ok, 1} = Lariat.close("b1", :all)
    assert_receive {:DOWN, ^other_ref, :process, ^other, :all}, 15_000

    heard =
      Enum.sort([String.contains?(hear_all(one), "alone"), String.contains?(hear_all(two), "alone")])

    assert [false, true] = heard
    gone = Lariat.monitor(conn)
    assert_receive {:DOWN, ^gone, :process, ^conn, :noproc}, 15_000
  end

  test "a handler answers, and a crash is for one request", %{address: address} do
    assert hear_all(get(address, "/crash", "Connection: close\r\n")) =~ "HTTP/1.1 500"
    answer = hear_all(get(address, "/hello", "Connection: close\r\n"))
    assert answer =~ "HTTP/1.1 200"
    assert answer =~ "hello "
  end

  test "a handler says who may connect", %{address: address} do
    assert hear_all(get(address, "/guest/c1")) =~ "log in first"
    stream = get(address, "/guest/c1", "Cookie: session=sesame\r\n")
    assert hear(stream, "\r\n\r\n") =~ "HTTP/1.1 200"
    await(fn -> Lariat.connections({:guest, "c1"}) end)
    :ok = Lariat.login({:closed, {:guest, "c1"}}, self())
    :ok = :gen_tcp.close(stream)
    assert_receive ":client", 15_000
  end

  test "a handler talks with a WebSocket", %{address: address} do
    socket =
      get(address, "/ws/d1", """
      Cookie: session=sesame\r
      Connection: Upgrade\r
      Upgrade: websocket\r
      Sec-WebSocket-Version: 13\r
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
      """)

    # The example of RFC 6455, 1.3.
    assert hear(socket, "\r\n\r\n") =~ "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    :ok = :gen_tcp.send(socket, frame("Bob"))
    hear(socket, "hello Bob")
    :ok = :gen_tcp.send(socket, frame("bye"))
    # A close frame with the code and the text.
    hear(socket, <<0x88, 5, 4001::16, "bye">>)
  end

  test "who holds the edge lets go of it, and its clients leave in order", context do
    %{edge: edge, address: address} = context
    stream = get(address, "/stream/e1")
    [conn] = await(fn -> Lariat.connections("e1") end)
    ref = Lariat.monitor(conn)
    :ok = stop_supervised({Lariat, edge})
    assert_receive {:DOWN, ^ref, :process, ^conn, :drain}, 15_000
    hear_all(stream)
    refute is_map_key(Lariat.info().edges, edge)
    assert {:error, :no_such_edge} = Lariat.info(edge)
  end

  test "its configuration is read again, and it is drained", context do
    %{edge: edge, address: address} = context
    stream = get(address, "/stream/f1", "Accept: text/event-stream\r\n")
    await(fn -> Lariat.connections("f1") end)
    config = [http: [listen: ["127.0.0.1:0"], demo: true]]

    assert {:ok, %{changed: changed, kept: [], certificates: 0}} = Lariat.reload(edge, config)
    assert "http.demo" in changed
    assert hear_all(get(address, "/", "Connection: close\r\n")) =~ "HTTP/1.1 200"
    assert {:ok, %{changed: []}} = Lariat.reload(edge)
    assert {:error, :badarg} = Lariat.drain(edge, speed: 1)
    assert :ok = Lariat.drain(edge, rate: 100)
    assert hear_all(stream) =~ ~r/retry: \d+.*retry: \d+/s
    assert {:error, :no_such_edge} = Lariat.drain(edge)
  end

  test "what cannot be started says why", %{address: address} do
    assert {:error, {{:not_started, why}, _}} =
             start_supervised({Lariat, name: :taken, http: address})

    assert why =~ address

    assert {:error, {{:not_started, why}, _}} =
             start_supervised({Lariat, name: :wrong, config: [http: [bogus: 1]]})

    assert why =~ "bogus"
  end

  # A text of a client, masked with zeros.
  defp frame(text), do: <<0x81, 1::1, byte_size(text)::7, 0::32, text::binary>>
end
