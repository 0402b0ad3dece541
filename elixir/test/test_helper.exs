# Subscriptions of these tests are in memory and in a directory of their own.
dir = Path.join(System.tmp_dir!(), "lariat-elixir-#{System.pid()}")
Application.put_env(:mnesia, :dir, String.to_charlist(dir))
{:ok, _} = Application.ensure_all_started(:lariat)

ExUnit.start(capture_log: true)

ExUnit.after_suite(fn _ ->
  :stopped = :mnesia.stop()
  File.rm_rf!(dir)
end)
