defmodule Lariat.Client do
  # A client of an edge, on a raw socket; and how tests wait.
  import ExUnit.Assertions

  # Only a failing test waits this long.
  @deadline_ms 60_000

  def get(address, path, fields \\ "") do
    [host, port] = String.split(address, ":")
    {:ok, ip} = :inet.parse_address(String.to_charlist(host))
    {:ok, socket} = :gen_tcp.connect(ip, String.to_integer(port), [:binary, active: false])
    :ok = :gen_tcp.send(socket, "GET #{path} HTTP/1.1\r\nHost: a\r\n#{fields}\r\n")
    socket
  end

  # Everything up to and with the text.
  def hear(socket, text, heard \\ "") do
    if String.contains?(heard, text) do
      heard
    else
      case :gen_tcp.recv(socket, 0, @deadline_ms) do
        {:ok, more} ->
          hear(socket, text, heard <> more)

        {:error, reason} ->
          flunk("no #{inspect(text)} but #{inspect(reason)} after #{inspect(heard)}")
      end
    end
  end

  # Everything until the connection ends.
  def hear_all(socket, heard \\ "") do
    case :gen_tcp.recv(socket, 0, @deadline_ms) do
      {:ok, more} -> hear_all(socket, heard <> more)
      {:error, :closed} -> heard
    end
  end

  # For what sends no event.
  def await(fun, until \\ System.monotonic_time(:millisecond) + @deadline_ms) do
    case fun.() do
      wrong when wrong in [nil, false, []] ->
        assert System.monotonic_time(:millisecond) < until, "waited in vain"
        receive(do: (:never -> :ok), after: (20 -> await(fun, until)))

      right ->
        right
    end
  end
end

defmodule Lariat.Hello do
  # Who may connect, and what is answered, in the tests of edges.
  use Lariat.Handler

  @impl true
  def init(%{kind: :request, path: "/hello"}, greeting) do
    {:reply, 200, %{"content-type" => "text/plain"}, greeting}
  end

  def init(%{kind: :request, path: "/crash"}, _greeting), do: raise("on purpose")

  def init(%{kind: kind} = request, _greeting) when kind in [:stream, :websocket] do
    case :lariat_request.cookie("session", request) do
      {:ok, "sesame"} -> {:accept, {:guest, :lariat_request.id(request)}, %{}}
      _ -> {:reject, 403, "log in first"}
    end
  end

  @impl true
  def handle_in(_conn, {:text, "bye"}, _greeting), do: {:close, {4001, "bye"}}
  def handle_in(_conn, {:text, text}, greeting), do: {:reply, [greeting, text]}

  @impl true
  def handle_closed(%{id: id}, reason, _greeting), do: Lariat.send({:closed, id}, inspect(reason))
end

# Subscriptions of these tests are in a directory of their own.
dir = Path.join(System.tmp_dir!(), "lariat-elixir-#{System.pid()}")
Application.put_env(:mnesia, :dir, String.to_charlist(dir))
Application.put_env(:lariat, :handlers, [{"hello", Lariat.Hello, "hello "}])
{:ok, _} = Application.ensure_all_started(:lariat)

ExUnit.start(capture_log: true, timeout: 300_000)

ExUnit.after_suite(fn _ ->
  :stopped = :mnesia.stop()
  File.rm_rf!(dir)
end)
