import Config

# Who answers for the routes that lib/live.ex names.
config :lariat, handlers: [{"live", Live.Feed, []}]
