%%% The handler that every node has: publishes what the edge was asked to over HTTP.
%%%
%%% The edge checks who may, and reads the body; here it is sent like any message. A subject in
%%% digits is an integer, as an id in a path is. What is answered is JSON, written by hand: it has
%%% a number or a word of ours in it, and nothing that a client sent.
-module(lariat_publish).

-behaviour(lariat_handler).

%% lariat_handler.
-export([init/2]).

-define(HEADERS, [{<<"content-type">>, <<"application/json">>}]).

%% @private
-spec init(lariat_handler:request(), term()) -> lariat_handler:init_result().
init(#{publish := #{message := Message} = Publish}, _State) ->
    Options = maps:with([event, id], Publish),
    Sent = [lariat_router:send(To, Message, Options) || {ok, To} <- [maps:find(to, Publish)]],
    Published = [
        lariat:publish(subject(Subject), Message, Options)
     || {ok, Subject} <- [maps:find(subject, Publish)]
    ],
    answer(Sent ++ Published);
init(#{}, _State) ->
    {reject, 400, <<"nothing to publish">>}.

-spec subject(lariat_wire:id()) -> lariat_wire:id().
subject(Text) when is_binary(Text) -> lariat_wire:id_from_text(Text);
subject(Id) -> Id.

%% Several when it is for ids and for a subject. Who is sent both gets both.
-spec answer([lariat_router:outcome()]) -> lariat_handler:init_result().
answer(Outcomes) ->
    case [Reason || {error, Reason} <- Outcomes] of
        [] ->
            Reached = lists:sum([N || {ok, N} <- Outcomes]),
            {reply, 200, ?HEADERS, ["{\"reached\":", integer_to_binary(Reached), "}"]};
        [Reason | _] ->
            refusal(Reason)
    end.

-spec refusal(lariat_router:reason()) -> lariat_handler:init_result().
refusal(too_large) -> failure(413, "too_large");
refusal(busy) -> failure(503, "busy");
refusal(noconnection) -> failure(503, "noconnection");
%% Some have it: who tries again sends it to those twice.
refusal({partial, _}) -> failure(502, "partial");
refusal(_) -> failure(503, "failed").

-spec failure(400..599, string()) -> lariat_handler:init_result().
failure(Status, Word) ->
    {reply, Status, ?HEADERS, ["{\"error\":\"", Word, "\"}"]}.
