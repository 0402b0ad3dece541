defmodule Live do
  # A live feed: the edge in this VM, what it is asked (`Live.Feed`), and what it tells by itself
  # (`Live.Pulse`).
  use Application

  require Logger

  @routes [
    [path: "/", kind: "request", handler: "live"],
    [path: "/say/{id}", kind: "request", handler: "live"],
    [path: "/feed/{id}", access: "ask", handler: "live"]
  ]

  @impl true
  def start(_type, _args) do
    http = Application.fetch_env!(:live, :http)

    children = [
      {Lariat, name: :live, http: http, config: [http: [route: @routes]]},
      Live.Pulse
    ]

    with {:ok, pid} <-
           Supervisor.start_link(children, strategy: :one_for_one, name: Live.Supervisor) do
      {:ok, %{http_addresses: [address]}} = Lariat.info(:live)
      Logger.info("the feed is at http://#{address}/")
      {:ok, pid}
    end
  end
end
