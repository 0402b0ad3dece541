%%% Starts and stops the application.
%%%
%%% Subscriptions first: an edge attached before them could publish to nobody. Before anything is taken
%%% down, connections of edges in this VM leave in order, while handlers and all else still work; so
%%% no supervisor waits for them.
-module(lariat_app).

-behaviour(application).

%% application.
-export([start/2, prep_stop/1, stop/1]).

%% @private
-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    case lariat_subscriptions:open() of
        ok ->
            case lariat_sup:start_link() of
                {ok, Pid} -> {ok, Pid};
                ignore -> {error, ignore};
                {error, _} = Error -> Error
            end;
        {error, _} = Error ->
            Error
    end.

%% @private
-spec prep_stop(State) -> State.
prep_stop(State) ->
    ok = lariat_edge:drain_all(),
    State.

%% @private
-spec stop(term()) -> ok.
stop(_State) -> ok.
