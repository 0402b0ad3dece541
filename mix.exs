defmodule Lariat.MixProject do
  # The same application as rebar3 builds, with a few modules in Elixir on top.
  #
  # What it is called, needs and starts stands in erlang/lariat.app.src alone. No dependency, not
  # from hex either.
  use Mix.Project

  {:ok, [{:application, :lariat, keys}]} = :file.consult("#{__DIR__}/erlang/lariat.app.src")
  @keys keys

  def project do
    [
      app: :lariat,
      version: List.to_string(@keys[:vsn]),
      description: List.to_string(@keys[:description]),
      elixir: "~> 1.14",
      compilers: [:lariat_nif | Mix.compilers()],
      erlc_paths: ["erlang/src"],
      erlc_options: [:debug_info],
      elixirc_paths: ["elixir/lib"],
      test_paths: ["elixir/test"],
      # Apart from what rebar3 builds: its test profile has the same name as Mix's.
      build_path: "_build/mix",
      # elixir/test/test_helper.exs starts the application, with tables of its own.
      aliases: [test: "test --no-start"],
      deps: []
    ]
  end

  def application do
    @keys
    |> Keyword.take([:mod, :registered, :env])
    |> Keyword.put(:extra_applications, @keys[:applications] -- [:kernel, :stdlib])
  end
end

defmodule Mix.Tasks.Compile.LariatNif do
  # Has native/build build the NIF library, as rebar3 does before it compiles.
  use Mix.Task.Compiler

  @impl true
  def run(_args) do
    case System.cmd(Path.join(__DIR__, "native/build"), [],
           into: IO.stream(),
           stderr_to_stdout: true
         ) do
      {_, 0} ->
        # Links priv/ to where the application is built; until now it may not have been there.
        Mix.Project.build_structure()
        {:ok, []}

      {_, _} ->
        {:error, []}
    end
  end
end
