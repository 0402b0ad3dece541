defmodule Lariat.HandlerTest do
  use ExUnit.Case, async: true

  defmodule Plain do
    use Lariat.Handler
  end

  defmodule Speaking do
    use Lariat.Handler

    @impl true
    def handle_in(_conn, {:text, text}, state), do: {:reply, [state, text]}

    @impl true
    def handle_closed(_conn, _reason, _state), do: :ok
  end

  test "whoever has no callback rejects, ignores, and is not told" do
    assert {:reject, 404, _} = Plain.init(%{kind: :request}, [])
    assert :ok = Plain.handle_in(%{}, {:text, "hello"}, [])
    refute function_exported?(Plain, :handle_closed, 3)
    refute function_exported?(Plain, :handle_batch, 2)
  end

  test "what is there is used" do
    assert {:reply, ["re: ", "hello"]} = Speaking.handle_in(%{}, {:text, "hello"}, "re: ")
    assert {:reject, 404, _} = Speaking.init(%{kind: :request}, [])
    assert function_exported?(Speaking, :handle_closed, 3)
  end

  test "its callbacks are those of the Erlang behaviour" do
    assert Enum.sort(:lariat_handler.behaviour_info(:callbacks)) ==
             Enum.sort(Lariat.Handler.behaviour_info(:callbacks))
  end
end
