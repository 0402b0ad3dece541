defmodule Live.Feed do
  # Who reads the feed is a subscription, what is said is published.
  #
  # It keeps nothing that was said, and anybody may say something under any name; a token in front
  # of the routes changes that.
  use Lariat.Handler

  @impl true
  def init(%{kind: :stream} = request, _state) do
    id = :lariat_request.id(request)
    :ok = Lariat.subscribe(id, :feed)
    {:accept, id, %{}}
  end

  def init(%{method: "POST", path: "/say/" <> _, bindings: %{"id" => who}, body: text}, _state) do
    case Lariat.publish(:feed, [who, ?\n, text], event: "said") do
      {:ok, _readers} -> {:reply, 204, %{}, ""}
      {:error, _} -> {:reject, 503, "not now"}
    end
  end

  def init(%{method: "GET", path: "/"}, _state) do
    page = File.read!(Application.app_dir(:live, "priv/live.html"))
    {:reply, 200, %{"content-type" => "text/html; charset=utf-8"}, page}
  end

  def init(_request, _state), do: {:reject, 405, "say something, or look at the page"}

  # An id may be on several pages; it has left with the last.
  @impl true
  def handle_closed(%{id: id}, _reason, _state) do
    if Lariat.connections(id) == [], do: Lariat.unsubscribe(id, :feed)
  end
end
