%%% A chat: rooms, and a WebSocket for each who talks in one.
%%%
%%% It keeps nothing: who is in a room is a subscription, what was said is gone. Anybody may take any
%%% name; where that matters `init/2' is the place to look at a cookie or at the claims of a token.
-module(chat).

-behaviour(lariat_handler).

-export([init/2, handle_in/3, handle_closed/3]).

%% @private The page lies beside the compiled module.
-spec init(lariat_handler:request(), term()) -> lariat_handler:init_result().
init(#{kind := request}, _State) ->
    {ok, Page} = file:read_file(filename:join(filename:dirname(code:which(?MODULE)), "chat.html")),
    {reply, 200, #{"content-type" => "text/html; charset=utf-8"}, Page};
%% Somebody comes in. Ids are any term: here a name in a room.
init(#{kind := websocket, bindings := #{<<"room">> := Room, <<"name">> := Name}}, _State) ->
    case byte_size(Name) =< 32 andalso binary:match(Name, <<"\n">>) =:= nomatch of
        true ->
            ok = lariat:subscribe({Room, Name}, {room, Room}),
            said(Room, Name, "is here"),
            {accept, {Room, Name}, #{}};
        false ->
            {reject, 400, "a name is a line of at most 32 bytes"}
    end.

%% @private
-spec handle_in(lariat_handler:conn(), lariat_handler:data(), term()) -> lariat_handler:in_result().
handle_in(#{id := {Room, Name}}, {text, Text}, _State) ->
    said(Room, Name, Text),
    ok;
handle_in(_Conn, {binary, _}, _State) ->
    {close, text_only}.

%% @private A name may be on several pages; it has left with the last.
-spec handle_closed(lariat_handler:conn(), term(), term()) -> ok.
handle_closed(#{id := {Room, Name} = Id}, _Reason, _State) ->
    case lariat:connections(Id) of
        [] ->
            ok = lariat:unsubscribe(Id, {room, Room}),
            said(Room, Name, "has left");
        [_ | _] ->
            ok
    end.

%% At most once, and to those who are there: no answer is needed.
-spec said(binary(), binary(), iodata()) -> ok.
said(Room, Name, Text) ->
    _ = lariat:publish({room, Room}, [Name, $\n, Text]),
    ok.
