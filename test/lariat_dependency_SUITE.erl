%%% Projects that depend on Lariat by git and run an edge in their own VM, with no step of its own.
%%%
%%% They depend on a repository made of this tree as it is, tracked or not yet. All of that lies at one
%%% place in _build, not in the suite's private directory: cargo keeps what it compiles by path, here
%%% beside what it compiles for the other tests, and would keep it for each run.
-module(lariat_dependency_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([rebar3_project/1, mix_project/1, without_cargo/1, unsuitable_cargo/1]).

all() ->
    [rebar3_project, mix_project, without_cargo, unsuitable_cargo].

%% Cargo compiles the library twice, for each path that it lies at.
suite() ->
    [{timetrap, {minutes, 40}}].

init_per_suite(Config) ->
    Dir = filename:join([lariat_site:root(), "_build", "dependency"]),
    _ = file:del_dir_r(Dir),
    Repository = filename:join(Dir, "repository"),
    ok = snapshot(lariat_site:root(), Repository),
    [{dir, Dir}, {url, "file://" ++ Repository}, {repository, Repository} | Config].

end_per_suite(Config) ->
    Config.

rebar3_project(Config) ->
    Guest = rebar3_guest("rebar3_guest", Config),
    {0, Said} = run(Guest, ["rebar3", "compile"], []),
    true = contains(Said, "building the NIF library"),
    {0, Heard} = check(Guest),
    true = contains(Heard, "heard: Hello"),
    %% Nothing has changed, so nothing is built.
    {0, Again} = run(Guest, ["rebar3", "compile"], []),
    false = contains(Again, "NIF library").

mix_project(Config) ->
    Guest = project("mix_guest", Config, [
        {"mix.exs", [
            "defmodule Guest.MixProject do\n"
            "  use Mix.Project\n"
            "  def project, do: [app: :guest, version: \"0.1.0\", deps: [{:lariat, git: \"",
            ?config(url, Config), "\"}]]\n"
            "  def application, do: [mod: {Guest, []}]\n"
            "end\n"
        ]},
        {"config/config.exs", [
            "import Config\n"
            "config :mnesia, dir: ~c\"mnesia\"\n"
        ]},
        {"lib/guest.ex", [
            "defmodule Guest do\n"
            "  use Application\n"
            "  def start(_, _) do\n"
            "    children = [{Lariat, name: :guest, http: \"127.0.0.1:0\"}]\n"
            "    Supervisor.start_link(children, strategy: :one_for_one)\n"
            "  end\n"
            "  def check do\n"
            "    {:ok, %{http_addresses: [address]}} = Lariat.info(:guest)\n"
            "    {:ok, _} = Application.ensure_all_started(:inets)\n"
            "    {:ok, ref} = :httpc.request(:get, {'http://#{address}/stream/123', []}, [],\n"
            "      sync: false, stream: :self)\n"
            "    receive do: ({:http, {^ref, :stream_start, _}} -> :ok)\n"
            "    say(Lariat.call(123, \"Hello\"))\n"
            "    receive do: ({:http, {^ref, :stream, heard}} -> IO.puts(\"heard: #{heard}\"))\n"
            "  end\n"
            "  # The client may know before this node does.\n"
            "  defp say({:ok, 1}), do: :ok\n"
            "  defp say(_), do: say(Lariat.call(123, \"Hello\"))\n"
            "end\n"
        ]}
    ]),
    {0, _} = run(Guest, ["mix", "deps.get"], []),
    {0, Said} = run(Guest, ["mix", "compile"], []),
    true = contains(Said, "building the NIF library"),
    {0, Heard} = run(Guest, ["mix", "run", "-e", "Guest.check()"], []),
    true = contains(Heard, "heard: Hello"),
    false = contains(Heard, "NIF library").

%% It compiles all the same, and says what is missing: then, and when somebody wants an edge in the VM.
without_cargo(Config) ->
    Guest = rebar3_guest("guest_without_cargo", Config),
    {0, Said} = run(Guest, ["rebar3", "compile"], no_cargo()),
    true = contains(Said, "the NIF library is not built"),
    true = contains(Said, "https://sh.rustup.rs"),
    {1, Heard} = check(Guest),
    true = contains(Heard, "not_started"),
    true = contains(Heard, "priv/lariat_nif.so"),
    true = contains(Heard, "rebar3 compile").

%% One that is too old, or has no toolchain, is as good as none; one that is new enough and fails is an error.
unsuitable_cargo(Config) ->
    Repository = ?config(repository, Config),
    Build = filename:join([Repository, "native", "build"]),
    {0, Old} = run(Repository, [Build], with_cargo("1.70.0", Config)),
    true = contains(Old, "this is 1.70.0"),
    true = contains(Old, "rustup update stable"),
    {0, None} = run(Repository, [Build], with_cargo("", Config)),
    true = contains(None, "rustup default stable"),
    {1, New} = run(Repository, [Build], with_cargo("1.999.0", Config)),
    true = contains(New, "LARIAT_NIF_PROFILE=none"),
    {0, <<>>} = run(Repository, [Build], [{"LARIAT_NIF_PROFILE", "none"} | with_cargo("1.999.0", Config)]).

%% A project of rebar3 whose module `guest' runs an edge and talks to a client of it.
rebar3_guest(Name, Config) ->
    project(Name, Config, [
        {"rebar.config", [
            "{deps, [{lariat, {git, \"", ?config(url, Config), "\", {branch, \"main\"}}}]}.\n"
        ]},
        {"src/guest.app.src", [
            "{application, guest, [{vsn, \"0.1.0\"}, {applications, [kernel, stdlib, lariat]}]}.\n"
        ]},
        {"src/guest.erl", [
            "-module(guest).\n"
            "-export([check/0]).\n"
            "check() ->\n"
            "    {ok, _} = application:ensure_all_started(guest),\n"
            "    Http = #{listen => [<<\"127.0.0.1:0\">>]},\n"
            "    ok = lariat:attach(#{nif => guest, config => #{http => Http}}),\n"
            "    {ok, #{http_addresses := [Address]}} = lariat:info(guest),\n"
            "    [_, Port] = string:split(Address, \":\"),\n"
            "    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, binary_to_integer(Port), [binary]),\n"
            "    ok = gen_tcp:send(Socket, \"GET /stream/123 HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n\"),\n"
            "    say(lariat:call(123, \"Hello\")),\n"
            "    hear(Socket).\n"
            "say({ok, 1}) -> ok;\n"
            "say(_) -> say(lariat:call(123, \"Hello\")).\n"
            "hear(Socket) ->\n"
            "    receive\n"
            "        {tcp, Socket, Data} ->\n"
            "            case binary:match(Data, <<\"Hello\">>) of\n"
            "                nomatch -> hear(Socket);\n"
            "                _ -> io:put_chars(\"heard: Hello\\n\"), halt()\n"
            "            end\n"
            "    end.\n"
        ]}
    ]).

check(Guest) ->
    Ebins = filelib:wildcard(filename:join(Guest, "_build/default/lib/*/ebin")),
    run(Guest, ["erl", "-noinput", "-mnesia", "dir", "\"mnesia\"", "-pa"] ++ Ebins ++
        ["-eval", "try guest:check() catch _:Why -> io:format(\"~tp~n\", [Why]), halt(1) end."], []).

project(Name, Config, Files) ->
    Dir = filename:join(?config(dir, Config), Name),
    lists:foreach(
        fun({File, Text}) ->
            Path = filename:join(Dir, File),
            ok = filelib:ensure_dir(Path),
            ok = file:write_file(Path, Text)
        end,
        Files
    ),
    Dir.

%% What would be committed if all was, as a repository with one commit.
snapshot(Root, Repository) ->
    {0, Listed} = run(Root, ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], []),
    lists:foreach(
        fun(File) ->
            From = filename:join(Root, File),
            To = filename:join(Repository, File),
            ok = filelib:ensure_dir(To),
            {ok, _} = file:copy(From, To),
            {ok, Info} = file:read_file_info(From),
            ok = file:write_file_info(To, Info)
        end,
        [File || File <- binary:split(Listed, <<0>>, [global, trim]),
                 filelib:is_regular(filename:join(Root, File))]
    ),
    Commit = "git init -q -b main && git add -A && "
        "git -c user.name=snapshot -c user.email=snapshot@localhost commit -q -m Snapshot",
    {0, _} = run(Repository, ["sh", "-c", Commit], [{"GIT_CONFIG_GLOBAL", "/dev/null"}]),
    ok.

%% PATH with a directory of links in place of each that has a cargo.
no_cargo() ->
    Dirs = [no_cargo(Dir) || Dir <- lists:uniq(string:lexemes(os:getenv("PATH"), ":"))],
    [{"PATH", lists:flatten(lists:join(":", Dirs))}, {"CARGO_HOME", "/nonexistent"}].

no_cargo(Dir) ->
    case filelib:is_file(filename:join(Dir, "cargo")) of
        false ->
            Dir;
        true ->
            Links = filename:join([lariat_site:root(), "_build", "dependency", "links",
                                   integer_to_list(erlang:phash2(Dir))]),
            {ok, Names} = file:list_dir(Dir),
            ok = filelib:ensure_dir(filename:join(Links, "x")),
            [ok = file:make_symlink(filename:join(Dir, Name), filename:join(Links, Name))
             || Name <- Names, not lists:member(Name, ["cargo", "rustc"])],
            Links
    end.

%% PATH with a cargo that can do nothing, and a compiler that says it is of this version.
with_cargo(Version, Config) ->
    Dir = project("rust-" ++ Version, Config, [
        {"cargo", "#!/bin/sh\nexit 101\n"},
        {"rustc", ["#!/bin/sh\n", ["echo rustc " || Version =/= ""], Version, "\n"]}
    ]),
    [ok = file:change_mode(filename:join(Dir, Name), 8#755) || Name <- ["cargo", "rustc"]],
    [{"PATH", Dir ++ ":" ++ os:getenv("PATH")}].

%% Runs a program in a directory; its exit status, and what it said.
run(Dir, [Program | Args], Env) ->
    Path = case filename:pathtype(Program) of absolute -> Program; _ -> os:find_executable(Program) end,
    Shared = [
        {"CARGO_TARGET_DIR", filename:join(lariat_site:root(), "target")},
        {"LARIAT_NIF_PROFILE", os:getenv("LARIAT_NIF_PROFILE", "dev")}
    ],
    Port = open_port({spawn_executable, Path}, [
        {args, Args}, {cd, Dir}, {env, lists:ukeysort(1, Env ++ Shared)},
        binary, exit_status, stderr_to_stdout, hide
    ]),
    {Status, Said} = hear(Port, []),
    ct:log("~ts$ ~ts~n~ts~n(~b)", [Dir, lists:join(" ", [Program | Args]), Said, Status]),
    {Status, Said}.

hear(Port, Heard) ->
    receive
        {Port, {data, Data}} -> hear(Port, [Heard, Data]);
        {Port, {exit_status, Status}} -> {Status, iolist_to_binary(Heard)}
    end.

contains(Said, Text) ->
    binary:match(Said, list_to_binary(Text)) =/= nomatch.
