%%% Reads what a handler's request says: its id, a cookie, a parameter.
%%%
%%% Pure, and lenient: what a client sent badly is not there. Bodies are the application's own.
-module(lariat_request).

-export([id/1, cookie/2, parameter/2, header/2]).

%% @doc The id in the path, for routes that have `{id}': digits are an integer, anything else is
%% a binary, by the same rule as on routes that nobody is asked about.
-spec id(lariat_handler:request()) -> integer() | binary().
id(#{bindings := #{<<"id">> := Text}}) -> lariat_wire:id_from_text(Text).

%% @doc The value of a cookie (RFC 6265, 4.2.1), the first of several.
-spec cookie(binary(), lariat_handler:request()) -> {ok, binary()} | error.
cookie(Name, #{headers := #{<<"cookie">> := Cookies}}) ->
    found([
        Value
     || Pair <- binary:split(Cookies, <<";">>, [global]),
        [Key, Value] <- [binary:split(trimmed(Pair), <<"=">>)],
        Key =:= Name
    ]);
cookie(_, #{}) ->
    error.

%% @doc The value of a parameter in the query, decoded; the first of several.
-spec parameter(binary(), lariat_handler:request()) -> {ok, binary()} | error.
parameter(Name, #{query := Query}) ->
    try uri_string:dissect_query(Query) of
        Pairs when is_list(Pairs) ->
            found([Value || {Key, Value} <- Pairs, Key =:= Name, is_binary(Value)]);
        {error, _, _} ->
            error
    catch
        error:_ -> error
    end.

%% @doc The value of a field of the head; its name in lower case.
-spec header(binary(), lariat_handler:request()) -> {ok, binary()} | error.
header(Name, #{headers := Headers}) -> maps:find(Name, Headers).

%% Not string:trim/1, which crashes on what is no UTF-8.
-spec trimmed(binary()) -> binary().
trimmed(<<Space, Rest/binary>>) when Space =:= $\s; Space =:= $\t -> trimmed(Rest);
trimmed(Trimmed) -> Trimmed.

-spec found([binary()]) -> {ok, binary()} | error.
found([First | _]) -> {ok, First};
found([]) -> error.
