%%% A live feed of friends: who follows whom is a subscription, a post is published.
%%%
%%% Reading is server-sent events on an ordinary route, so reconnecting is the browser's affair. It
%%% keeps no post: who is away misses it. Anybody may post as anybody; a token in front of the
%%% routes changes that (`access = "token"', and the name from `claims').
-module(feed).

-behaviour(lariat_handler).

-export([init/2]).

%% @private
-spec init(lariat_handler:request(), term()) -> lariat_handler:init_result().
init(#{method := <<"POST">>, bindings := #{<<"id">> := Who, <<"whom">> := Whom}}, _State) ->
    ok = lariat:subscribe(id(Who), id(Whom)),
    {reply, 204, #{}, ""};
init(#{method := <<"POST">>, bindings := #{<<"id">> := _}, body := Text} = Request, _State) ->
    Who = lariat_request:id(Request),
    case lariat:publish(Who, [name(Who), $\n, Text], #{event => "post"}) of
        {ok, Reached} ->
            Json = ["{\"reached\":", integer_to_binary(Reached), "}"],
            {reply, 200, #{"content-type" => "application/json"}, Json};
        {error, _} ->
            {reject, 503, "not now"}
    end;
%% The page lies beside the compiled module.
init(#{method := <<"GET">>, path := <<"/">>}, _State) ->
    {ok, Page} = file:read_file(filename:join(filename:dirname(code:which(?MODULE)), "feed.html")),
    {reply, 200, #{"content-type" => "text/html; charset=utf-8"}, Page};
init(#{}, _State) ->
    {reject, 405, "post, or look at the page"}.

%% The same ids as in the path of the stream.
-spec id(binary()) -> lariat_wire:id().
id(Text) -> lariat_wire:id_from_text(Text).

-spec name(integer() | binary()) -> binary().
name(Id) when is_integer(Id) -> integer_to_binary(Id);
name(Id) -> Id.
