%% Tells, when it changes, which node leads a quorum queue; an expression for erl's -eval.
%%
%% A node leads when it says so itself and a majority of the nodes, each of them
%% connected to it, name it. Each line: the leader's node or "none", and the state
%% of each node's member of the queue, which is "none" while it is not connected to all.
[Queue | Names] = [list_to_atom(Argument) || Argument <- init:get_plain_arguments()],
Call = fun(Node, Module, Function, Arguments) ->
    erpc:call(Node, Module, Function, Arguments, 500)
end,
Look = fun(Node) ->
    try
        [Known] = Call(Node, ets, lookup, [ra_leaderboard, Queue]),
        [State] = Call(Node, ets, lookup, [ra_state, Queue]),
        {Node, element(2, element(2, Known)), element(2, State), [Node | Call(Node, erlang, nodes, [])]}
    catch
        _:_ -> {Node, none, none, []}
    end
end,
Loop = fun Again(Last) ->
    Views = [Look(Name) || Name <- Names],
    Supported = fun(Leader) ->
        length([N || {N, L, _, Seen} <- Views, L =:= Leader, lists:member(Leader, Seen)])
    end,
    Leaders = [N || {N, N, leader, _} <- Views, Supported(N) * 2 > length(Names)],
    State = fun(Of, Seen) ->
        case Names -- Seen of [] -> Of; _ -> none end
    end,
    Now = {lists:append(Leaders, [none]), [State(S, Seen) || {_, _, S, Seen} <- Views]},
    case Now of
        Last -> same;
        {[Leader | _], States} ->
            io:format("~s ~s~n", [Leader, lists:join(" ", [atom_to_list(S) || S <- States])])
    end,
    timer:sleep(50),
    Again(Now)
end,
Loop(nothing).
