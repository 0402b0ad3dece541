defmodule Live.MixProject do
  use Mix.Project

  def project do
    [
      app: :live,
      version: "0.1.0",
      elixir: "~> 1.14",
      # Elsewhere: {:lariat, git: "..."}
      deps: [{:lariat, path: "../.."}],
      # With all else that is built in this repository.
      build_path: "../../_build/live"
    ]
  end

  def application do
    [mod: {Live, []}, extra_applications: [:logger]]
  end
end
