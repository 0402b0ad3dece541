defmodule Lariat.Handler do
  @moduledoc """
  Who may connect, what a client said, what a request is answered.

      defmodule MyApp.Hello do
        use Lariat.Handler

        # A JSON endpoint.
        @impl true
        def init(%{kind: :request, path: "/api/time"}, _state) do
          {:reply, 200, %{"content-type" => "application/json"}, ~s({"seconds":\#{System.os_time(:second)}})}
        end

        # Who may connect: whoever has this cookie.
        def init(%{kind: :websocket} = request, _state) do
          case :lariat_request.cookie("session", request) do
            {:ok, "sesame"} -> {:accept, :lariat_request.id(request), %{}}
            _ -> {:reject, 403, "log in first"}
          end
        end

        # A WebSocket that says what it hears.
        @impl true
        def handle_in(_conn, {:text, text}, _state), do: {:reply, text}
      end

  The edge's config says for which paths it is asked, and the application's environment which module that
  is, with a constant of the module's own as the last argument of each call:

      config :lariat, handlers: [{"hello", MyApp.Hello, []}]

  Each call runs in a process of its own, so it may take its time, block, and crash: a crash is 500 for
  that one request, and closes no connection. The Erlang module `:lariat_handler` says the rest.

  `use Lariat.Handler` has a default for `c:init/2`, which rejects everything with 404, and for
  `c:handle_in/3`, which ignores what clients say.
  """

  @typedoc "What is asked for: `:kind`, `:method`, `:path`, `:bindings`, `:headers`, `:body` and more."
  @type request :: :lariat_handler.request()

  @typedoc "A held connection: `:id`, `:conn`, `:edge`, `:handler`."
  @type conn :: :lariat_handler.conn()

  @typedoc "A WebSocket message."
  @type data :: :lariat_handler.data()

  @typedoc "The constant of the environment; the same for every call."
  @type state :: :lariat_handler.state()

  @doc """
  Somebody wants to connect, or asks.

  `{:accept, id, options}` holds the connection under this id; the options are `:headers`, `:heartbeat` and
  `:when_full`. `{:reply, status, headers, body}` answers. `{:reject, status, reason}` is a short text for the
  client.
  """
  @callback init(request, state) :: :lariat_handler.init_result()

  @doc """
  A client said something.

  `:ok`, `{:reply, message}` to this connection, or `{:close, reason}`.
  """
  @callback handle_in(conn, data, state) :: :lariat_handler.in_result()

  @doc """
  A connection is gone.

  Every node that serves the handler is told, each once for a connection.
  """
  @callback handle_closed(conn, reason :: term, state) :: term

  @doc """
  The bodies of many requests of a route of kind `batch`, in order of arrival.

  `:ok` says that they are yours now: 202 to every sender. `{:error, reason}`: 503.
  """
  @callback handle_batch(bodies :: nonempty_list(binary), state) :: :lariat_handler.batch_result()

  # Who has no handle_closed/3 is not told, which costs nothing; so there is no default.
  @optional_callbacks handle_closed: 3, handle_batch: 2

  @doc false
  defmacro __using__(_options) do
    quote do
      @behaviour Lariat.Handler

      @impl true
      def init(_request, _state), do: {:reject, 404, "nothing is here"}

      @impl true
      def handle_in(_conn, _data, _state), do: :ok

      defoverridable init: 2, handle_in: 3
    end
  end
end
