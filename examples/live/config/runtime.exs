import Config

config :live, http: "127.0.0.1:" <> System.get_env("HTTP_PORT", "8000")

# Where subscriptions are kept.
dir = System.get_env("LIVE_DIR", Path.expand("../../../run/live", __DIR__))
config :mnesia, dir: String.to_charlist(dir)
