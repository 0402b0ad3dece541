defmodule Lariat do
  @moduledoc """
  Says something to people who hold an HTTP connection, anywhere.

  Everything here is the Erlang module `:lariat`, called as one would in Elixir. An edge holds the
  connections: in a program of its own, which is a hidden node, or in this VM. Either stands in
  a supervision tree of yours:

      children = [
        # In this VM.
        {Lariat, name: :edge, http: "127.0.0.1:8000"},
        # A node that runs already.
        {Lariat, node: :"lariat@127.0.0.1"}
      ]

      Supervisor.start_link(children, strategy: :one_for_one)

  Then:

      Lariat.send(123, "Hello")
      Lariat.send([123, 456, "alice"], ["Hel", "lo"])
      Lariat.subscribe(123, {:news, "de"})
      Lariat.publish({:news, "de"}, "Guten Morgen", event: "headline")

  `curl -N http://127.0.0.1:8000/stream/123` shows what user 123 gets.

  Ids are integers, strings, or any term but a list: a list is always a list of ids. A connection may
  stand wherever an id may, and is then meant alone. Messages are iodata; `{:binary, message}` is binary
  to a WebSocket even if it could be text, and `{:text, message}` the same as `message`.

  Who may connect, and what is done with what clients say, is for a `Lariat.Handler`. The application's
  environment has its other keys in `config/config.exs`:

      config :lariat,
        handlers: [{"chat", MyApp.Chat, []}],
        edges: [:"lariat@10.0.0.5"]
  """

  import Kernel, except: [send: 2]

  @typedoc "The address of a user or device: any term but a list."
  @type id :: :lariat_wire.id()

  @typedoc "One connection: a pid, or where its edge is in this VM a tuple to be passed on."
  @type conn :: :lariat_wire.conn()

  @typedoc "One receiver, or a list of them."
  @type ids :: :lariat_wire.ids()

  @typedoc "What is said."
  @type message :: :lariat_wire.message()

  @typedoc "The fields `event` and `id` of a server-sent event."
  @type send_option :: {:event, iodata} | {:id, iodata}

  @typedoc "Why something was not sent, see `send/3`."
  @type reason :: :lariat_router.reason()

  @typedoc "What an edge is called: a node's name, or the one that it was given."
  @type edge :: :lariat_picture.edge()

  @typedoc "An edge in a supervision tree, see `start_link/1`."
  @type option :: Lariat.Edge.option()

  @doc """
  Delivers a message to every connection of an id, or of each of a list of ids.

  `:ok` says that every edge which has a receiver took the message, or that there is no receiver at all.
  It is not a receipt; `call/3` is. `{:error, :busy}`: nothing was sent, try again later.
  `{:error, :noconnection}`: the edge is not connected. `{:error, {:partial, failures}}`: some took it,
  these did not. `{:error, :too_large}`: more than 32 MiB. Raises on what is no message. Never blocks.

      Lariat.send("alice", "Hello")
      Lariat.send("alice", "Hello", event: "greeting", id: "17")
  """
  @spec send(ids, message, [send_option]) :: :ok | {:error, reason}
  def send(ids, message, options \\ []), do: :lariat.send(ids, message, Map.new(options))

  @doc """
  Delivers, and waits until the edges say to how many connections.

      {:ok, 2} = Lariat.call(123, "Hello")
  """
  @spec call(ids, message, timeout) :: {:ok, non_neg_integer} | {:error, reason}
  def call(ids, message, timeout \\ 5000), do: :lariat.call(ids, message, timeout)

  @doc """
  Delivers to a subject and to its subscribers, to each once.

  Answers to how many connections and processes it was sent, as far as this node knows.
  """
  @spec publish(id, message, [send_option]) :: {:ok, non_neg_integer} | {:error, reason}
  def publish(subject, message, options \\ []),
    do: :lariat.publish(subject, message, Map.new(options))

  @doc "From now on the subscriber gets what is published to the subject."
  @spec subscribe(id, id) :: :ok | {:error, :lariat_subscriptions.refusal()}
  defdelegate subscribe(subscriber, subject), to: :lariat

  @doc "No longer."
  @spec unsubscribe(id, id) :: :ok | {:error, :lariat_subscriptions.refusal()}
  defdelegate unsubscribe(subscriber, subject), to: :lariat

  @doc "The subscribers of a subject, sorted, connected or not."
  @spec subscribers(id) :: [id]
  defdelegate subscribers(subject), to: :lariat

  @doc "Adds many subscriptions, `{subscriber, subject}`. Adding again does no harm."
  @spec add_subscriptions([{id, id}]) :: :ok | {:error, :lariat_subscriptions.refusal()}
  defdelegate add_subscriptions(subscriptions), to: :lariat

  @doc "Removes many."
  @spec remove_subscriptions([{id, id}]) :: :ok | {:error, :lariat_subscriptions.refusal()}
  defdelegate remove_subscriptions(subscriptions), to: :lariat

  @doc """
  From now on a process receives what is sent to an id, beside the connections of that id.

  It gets the message as one binary; `{:event, event, message}` or `{:event, event, id, message}` where
  these fields were given. Until it ends or logs out.

      Lariat.login("alice", self())
  """
  @spec login(id, conn) :: :ok | {:error, :logins_limit}
  defdelegate login(id, pid), to: :lariat

  @doc "The process receives nothing more, under any id."
  @spec logout(conn) :: :ok
  defdelegate logout(pid), to: :lariat

  @doc "An id's connections, and the processes that logged in under it."
  @spec connections(id) :: [conn]
  defdelegate connections(id), to: :lariat

  @doc """
  Closes the connections of an id, or of each of a list of ids; `{:ok, n}` of them.

  The reason is told to whoever monitors them. `{code, text}` is told to WebSockets, too: 1000 or
  4000 to 4999, and at most 123 bytes of text.

      Lariat.close("alice", {4001, "bye"})
  """
  @spec close(ids, :lariat_wire.reason()) :: {:ok, non_neg_integer} | {:error, reason}
  def close(ids, reason \\ :normal), do: :lariat.close(ids, reason)

  @doc """
  The caller gets `{:DOWN, ref, :process, conn, reason}` when a connection is gone.

      [conn] = Lariat.connections("alice")
      ref = Lariat.monitor(conn)
  """
  @spec monitor(conn) :: reference
  defdelegate monitor(conn), to: :lariat

  @doc "Ends a monitor; its message is not in the mailbox afterwards."
  @spec demonitor(reference) :: true
  defdelegate demonitor(ref), to: :lariat

  @doc """
  Attaches an edge that is in no supervision tree of yours.

  Takes what the key `:edges` of the application's environment takes; see also `start_link/1`.
  """
  @spec attach(:lariat_edge.config()) :: :ok | {:error, term}
  defdelegate attach(edge), to: :lariat

  @doc """
  Lets go of an edge. It keeps its connections, unless it is ours: in this VM, or our program.

  In this VM they close at once; see `drain/2`.
  """
  @spec detach(edge) :: :ok | {:error, :no_such_edge}
  defdelegate detach(edge), to: :lariat

  @doc """
  Lets go of an edge in this VM gently: its connections leave at a rate, and are asked to come back.

  Returns when all have left, or when `drain_timeout` of its configuration is over. Stopping the
  application, or the supervisor of the edge, does this, too. The options say otherwise than its
  configuration: `:timeout` and `:grace` in milliseconds, `:rate` in connections a second.

      Lariat.drain(:edge, rate: 100)
  """
  @spec drain(edge, [{:timeout | :grace | :rate, non_neg_integer}]) ::
          :ok | {:error, :badarg | :no_such_edge | :not_in_this_vm}
  def drain(edge, options \\ []), do: :lariat.drain(edge, Map.new(options))

  @doc """
  Has an edge in this VM read its configuration and certificates again; no connection notices.

  Answers the keys that have `:changed`, those that are `:kept` because they need a new start, and how many
  `:certificates` were read again.

      {:ok, %{changed: [], certificates: 1}} = Lariat.reload(:edge)
  """
  @spec reload(edge) :: {:ok, :lariat_nif.reloaded()} | {:error, term}
  defdelegate reload(edge), to: :lariat

  @doc """
  The same with another configuration: a map or keyword list, where it listens included, or the path of a file.

  The edge keeps it until it is let go of, also when it crashes and is started again.
  """
  @spec reload(edge, map | keyword | Path.t()) :: {:ok, :lariat_nif.reloaded()} | {:error, term}
  def reload(edge, config), do: :lariat.reload(edge, Lariat.Edge.plain(config))

  @doc "How is it? Edges, handlers, numbers and counters of this node; asks nobody."
  @spec info :: map
  defdelegate info, to: :lariat

  @doc "What an edge says of itself. At most two seconds."
  @spec info(edge) :: {:ok, map} | {:error, term}
  defdelegate info(edge), to: :lariat

  @doc """
  An edge as a child of a supervisor; takes what `start_link/1` takes.

  Several edges have several names, and so several children.
  """
  @spec child_spec([option]) :: Supervisor.child_spec()
  defdelegate child_spec(options), to: Lariat.Edge

  @doc """
  Attaches an edge for as long as the process that it starts lives.

  In this VM:

    * `:name` - what the edge is called, an atom
    * `:http` - where it listens: `"127.0.0.1:8000"`, `"unix:/run/app.sock"`, or a list of them
    * `:config` - the rest of its configuration, with the keys of `config/lariat.toml`: the path of such
      a file, or a map or keyword list, `[http: [route: [[path: "/feed/{id}"]]]]`

  As a hidden node:

    * `:node` - its name; it may come and go
    * `:command`, `:args`, `:cd`, `:env` - the program, when we are to run it, and keep it running
  """
  @spec start_link([option]) :: GenServer.on_start()
  defdelegate start_link(options), to: Lariat.Edge
end
