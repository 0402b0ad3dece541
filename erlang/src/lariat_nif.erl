%%% The functions of the NIF library, priv/lariat_nif.so.
%%%
%%% No logic: each function says what it does where the library is, and why there is none where it
%%% is not. Who wants an edge in this VM starts it by `lariat_edge_nif`.
-module(lariat_nif).

-export([version/0]).

-on_load(load/0).

%% @doc The version that the library was built as.
-spec version() -> binary().
version() ->
    erlang:nif_error(not_loaded).

%% The module loads without the library, too: an application whose edges are nodes needs none.
-spec load() -> ok.
load() ->
    Library = filename:join(code:priv_dir(lariat), "lariat_nif"),
    _ = erlang:load_nif(Library, 0),
    ok.
