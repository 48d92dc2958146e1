defmodule PgliteEx.Bridge do
  @moduledoc """
  One session, and the raw protocol: bytes of PostgreSQL's frontend in, bytes of its backend out.

  A bridge is a process that holds one session of PostgreSQL, either

    * with a `pgcell port` process of its own, a whole PostgreSQL that nobody else sees and that is gone with the bridge
      (the default), or
    * in a cell of a server (`server: MyApp.PG`), over its socket.

  Start-up is done by the bridge: the first message that is yours is a query. Calls from several processes are served one after
  another, in order.

      {:ok, bridge} = PgliteEx.Bridge.start_link(server: MyApp.PG, cell: "alice")
      message = IO.iodata_to_binary(PgliteEx.Protocol.query("select 1"))
      {:ok, answer} = PgliteEx.Bridge.exec_protocol_raw(bridge, message)
      PgliteEx.Protocol.messages(answer)
      #=> [{?T, …}, {?D, …}, {?C, "SELECT 1" <> <<0>>}, {?Z, "I"}]

  ## When a call returns

  When every Query, FunctionCall and Sync in the message has its ReadyForQuery. Two things come earlier:

    * **COPY FROM STDIN**: when CopyInResponse arrives and the data was not in the same message, the call returns with what there is
      up to it, and the data is yours to send, in as many calls as you like. A call that has nothing but CopyData returns
      `{:ok, ""}` at once; the one with CopyDone or CopyFail returns with the rest (after COPY in an extended query add a Sync
      to it: PostgreSQL swallows the first one). Anything else is refused meanwhile.
    * Messages without a Sync (Parse, Flush, …) return at once with what has come so far; their answers come with the next call.

  COPY TO STDOUT, notices and errors are part of the answer like everything else: **an ErrorResponse is `{:ok, answer}`**. Notices and
  notifications that come while nothing is asked go to the process in the option `:async`, as `{:pglite_ex, bridge, binary}` with whole
  messages in it, or nowhere.

  ## Errors

  | result | what happened | afterwards |
  |---|---|---|
  | `{:error, {:malformed, text}}` | the message isn't whole messages of the frontend; nothing was sent | the session is as before |
  | `{:error, :timeout}` | it took longer than `:timeout`; the query was cancelled, or not begun if others were before it | the session goes on; an open transaction has failed. If the cancelled query does not end within `:cancel_timeout` the session is replaced |
  | `{:error, %PgliteEx.Error{severity: "FATAL"}}` | PostgreSQL ended the session and said why | a new session is started |
  | `{:error, :down}` | the session is gone, during the call or before it: its process was killed, the server is down, or the bridge itself has ended | a new session is started, with back-off |

  Never an exit. A session that was replaced is a new one: settings, prepared statements, temporary tables and the open transaction are gone,
  and in a cell of its own all data.

  ## Memory

  A message is not copied on its way out, an answer is put together once. An answer has to fit into memory; use
  `exec_protocol_raw_stream/4` for what is large.
  """

  use GenServer
  require Logger

  alias PgliteEx.{
    Backoff,
    Binary,
    Error,
    Exchange,
    Options,
    Scanner,
    StartError,
    Starter,
    Telemetry
  }

  alias PgliteEx.Transport

  @default_timeout_ms 15_000
  @large_bytes 1_048_576

  @typedoc "A bridge: its pid or registered name."
  @type t :: GenServer.server()

  @typedoc "Why a call failed; see the module's documentation."
  @type reason :: :down | :timeout | {:malformed, String.t()} | Error.t()

  @schema [
    {:name, nil, &__MODULE__.name?/1, "a name of a process"},
    {:server, nil, :server, "a PgliteEx server"},
    {:cell, nil, :cell, ~s(a cell's name: 1 to 63 of A-Z a-z 0-9 _ . -, or "new")},
    {:database, "postgres", :text, "a database's name"},
    {:username, "postgres", :text, "a role's name"},
    {:binary, nil, :text, "a path"},
    {:otp_app, nil, :atom, "the name of an application"},
    {:image, nil, :text, "a path"},
    {:args, [], :texts, "a list of arguments"},
    {:async, nil, :pid, "a pid"},
    {:owner, nil, :pid, "a pid"},
    {:restart, true, :flag, "true or false"},
    {:startup_timeout, 30_000, :positive_ms, "a number of milliseconds"},
    {:cancel_timeout, 5_000, :positive_ms, "a number of milliseconds"},
    {:backoff, {100, 5_000}, :backoff, "{min, max} in milliseconds"}
  ]

  @doc false
  def name?(name),
    do: is_atom(name) or match?({:global, _}, name) or match?({:via, module, _} when is_atom(module), name)

  @doc false
  def child_spec(opts) do
    %{
      id: Keyword.get(opts, :name, __MODULE__),
      start: {__MODULE__, :start_link, [opts]},
      shutdown: 10_000,
      type: :worker
    }
  end

  @doc """
  Starts a bridge and returns when its session is ready for queries.

  Options:

    * `:server` - pid or name of a `PgliteEx` server: the session is in one of its cells. Without it the bridge starts a `pgcell port`
    * `:cell` - the cell's name, made when it does not exist, or `"new"` for a private one; only with `:server`. Default: the
      server's default cell
    * `:database`, `:username` - default `"postgres"`
    * `:binary`, `:otp_app`, `:image`, `:args` - as in `PgliteEx.start_link/1`; only without `:server`
    * `:name` - to register the bridge
    * `:async` - pid that gets notices and notifications which come while nothing is asked
    * `:owner` - pid; the bridge ends when that process does
    * `:restart` - `false`: the bridge ends when its session does. Default `true`: a new session, with back-off
    * `:backoff` - `{min, max}` between attempts, in milliseconds; default `{100, 5_000}`
    * `:startup_timeout` - 1 to 86400000 milliseconds, default 30000
    * `:cancel_timeout` - how long a cancelled query may take to end, 1 to 86400000 milliseconds, default 5000

  Errors: `{:error, %PgliteEx.StartError{}}`, and `{:error, %PgliteEx.Error{}}` when PostgreSQL refused the session. The caller gets
  them as values; no exit comes through the link.
  """
  @spec start_link(keyword) ::
          {:ok, pid} | {:error, StartError.t() | Error.t() | {:already_started, pid} | term}
  def start_link(opts), do: start(opts, :link)

  @doc "As `start_link/1`, without the link. Give an `:owner`, or stop it yourself."
  @spec start(keyword) :: {:ok, pid} | {:error, StartError.t() | Error.t() | {:already_started, pid} | term}
  def start(opts), do: start(opts, :nolink)

  defp start(opts, how) do
    with {:ok, config} <- Options.check(opts, @schema, "PgliteEx.Bridge.start_link/1"),
         {:ok, config} <- prepare(config, opts) do
      Starter.start(__MODULE__, config, how)
    end
  end

  defp prepare(%{server: nil, cell: nil} = config, opts) do
    with {:ok, path} <- Binary.find(opts),
         {:ok, version} <- Binary.check(path),
         do: {:ok, Map.merge(config, %{path: path, version: version, transport: Transport.Port})}
  end

  defp prepare(%{server: nil}, _opts), do: Options.bad("PgliteEx.Bridge.start_link/1: :cell needs a :server")

  defp prepare(config, _opts) do
    case PgliteEx.address(config.server) do
      {:ok, %{session: :own}} ->
        Options.bad("PgliteEx.Bridge.start_link/1: :server is a bridge, not a server")

      {:ok, address} ->
        database = PgliteEx.database_in_cell(config.database, config.cell)
        address = address.tcp || {:local, address.local}
        {:ok, Map.merge(config, %{address: address, database: database, transport: Transport.Socket})}

      {:error, :down} = error ->
        error
    end
  end

  @doc "Ends the bridge and its session. Returns when an operating-system process of its own is gone."
  @spec stop(t) :: :ok
  def stop(bridge) do
    case GenServer.whereis(bridge) do
      pid when is_pid(pid) ->
        Process.unlink(pid)
        Starter.shut(pid)

      _gone ->
        :ok
    end
  end

  @doc """
  Sends messages of the frontend and returns what the backend answers.

  `message` is one or more whole messages (type, length, body); not a StartupMessage, and not Terminate. See the module's
  documentation for when it returns, and for errors.

  Options:

    * `:timeout` - 0 to 86400000 milliseconds or `:infinity`, counted from the call, default #{@default_timeout_ms}. Then the query
      is cancelled and the call returns `{:error, :timeout}` at once
  """
  @spec exec_protocol_raw(t, iodata, keyword) :: {:ok, binary} | {:error, reason}
  def exec_protocol_raw(bridge, message, opts \\ []) do
    timeout_ms = timeout(opts)
    GenServer.call(bridge, {:exec, IO.iodata_to_binary(message), timeout_ms}, :infinity)
  catch
    :exit, _down -> {:error, :down}
  end

  @doc """
  As `exec_protocol_raw/3`, but gives the answer to `fun` piece by piece, in the caller's process, while it comes.

  The pieces are the answer, cut anywhere. Through a server's socket PostgreSQL waits while `fun` is at work on a piece; what a
  `pgcell port` of the bridge's own writes is held in memory instead. The time that `fun` takes counts for `:timeout`. If `fun` raises, throws
  or exits, the query is cancelled and the exception goes on to the caller.
  """
  @spec exec_protocol_raw_stream(t, iodata, (binary -> any), keyword) :: :ok | {:error, reason}
  def exec_protocol_raw_stream(bridge, message, fun, opts \\ []) when is_function(fun, 1) do
    bytes = IO.iodata_to_binary(message)
    timeout_ms = timeout(opts)

    case GenServer.whereis(bridge) do
      nil ->
        {:error, :down}

      target ->
        ref = Process.monitor(target)
        GenServer.cast(target, {:stream, {self(), ref}, bytes, timeout_ms})

        try do
          pieces(target, ref, fun)
        after
          Process.demonitor(ref, [:flush])
          GenServer.cast(target, {:forget, ref})
          flush(ref)
        end
    end
  end

  defp pieces(target, ref, fun) do
    receive do
      {^ref, {:piece, piece}} ->
        fun.(piece)
        GenServer.cast(target, {:more, ref})
        pieces(target, ref, fun)

      {^ref, {:done, result}} ->
        result

      {:DOWN, ^ref, _process, _target, _reason} ->
        {:error, :down}
    end
  end

  defp flush(ref) do
    receive do
      {^ref, _late} -> flush(ref)
    after
      0 -> :ok
    end
  end

  defp timeout(opts) do
    case Keyword.get(opts, :timeout, @default_timeout_ms) do
      :infinity ->
        :infinity

      ms when is_integer(ms) and ms in 0..86_400_000 ->
        ms

      other ->
        raise ArgumentError, ":timeout is 0 to 86400000 milliseconds or :infinity, not #{inspect(other)}"
    end
  end

  @doc """
  What the bridge is: `:status` (`:starting`, `:ready` or `:down`), `:os_pid` of its `pgcell port` or `nil`, `:restarts` of its session,
  `:parameters` as PostgreSQL reported them (`"server_version"` and so on), `:backend` (process id of the session, as in
  `pg_backend_pid()`, or `nil`).
  """
  @spec info(t) :: {:ok, map} | {:error, :down}
  def info(bridge) do
    {:ok, GenServer.call(bridge, :info, :infinity)}
  catch
    :exit, _down -> {:error, :down}
  end

  # State.
  #
  #   :starting ──ReadyForQuery──▶ :ready ──end of the session──▶ :down ──back-off──▶ :starting
  #
  #   current  the request that is being answered, or nil
  #   chunks   what came for it, newest first; or, without a request, what belongs to an open exchange or is not a whole message yet
  #   is_answer  what is in chunks without a request belongs to something that was sent
  #   paused   the transport waits until the streaming caller wants more

  @impl true
  def init(config) do
    Process.flag(:trap_exit, true)
    Telemetry.discover()
    if config.owner, do: Process.monitor(config.owner)

    state = %{
      config: config,
      link: nil,
      status: :starting,
      error: nil,
      since: System.monotonic_time(),
      timer: nil,
      waiters: [],
      restarts: 0,
      backoff: Backoff.new(config.backoff),
      key: nil,
      parameters: %{},
      fatal: nil,
      scanner: Scanner.new(),
      exchange: Exchange.new(),
      current: nil,
      queue: :queue.new(),
      chunks: [],
      is_answer: false,
      paused: false
    }

    {:ok, state, {:continue, :launch}}
  end

  @impl true
  def handle_continue(:launch, state), do: launch(state) |> noreply()

  defp launch(state) do
    state = %{
      state
      | status: :starting,
        since: System.monotonic_time(),
        key: nil,
        fatal: nil,
        scanner: Scanner.new(),
        exchange: Exchange.new(),
        chunks: [],
        is_answer: false,
        paused: false
    }

    case state.config.transport.open(state.config) do
      {:ok, link} ->
        state.config.transport.hello(link, state.config)
        timer = Process.send_after(self(), {:start_timeout, link}, state.config.startup_timeout)
        %{state | link: link, timer: timer}

      {:error, reason} ->
        down(state, reason)
    end
  end

  # A bridge that is not to be restarted ends when it is down and has nobody to tell.
  defp noreply(%{status: :ended} = state), do: {:stop, :normal, state}
  defp noreply(state), do: {:noreply, state}

  @impl true
  def handle_call({:exec, bytes, timeout_ms}, {pid, _tag} = from, state) do
    request = %{to: {:call, from}, bytes: bytes, size_out: 0, started: System.monotonic_time()}
    admit(request, pid, timeout_ms, state)
  end

  def handle_call(:await_ready, _from, %{status: :ready} = state), do: {:reply, :ok, state}
  def handle_call(:await_ready, _from, %{status: :failed} = state), do: {:reply, {:error, state.error}, state}
  def handle_call(:await_ready, from, state), do: {:noreply, %{state | waiters: [from | state.waiters]}}

  # what a server says here is where its cells are
  def handle_call(:address, _from, state), do: {:reply, %{session: :own}, state}

  def handle_call(:info, _from, state) do
    info = %{
      status: if(state.status == :failed, do: :down, else: state.status),
      os_pid: os_pid(state),
      restarts: state.restarts,
      parameters: state.parameters,
      backend: state.key && elem(state.key, 0)
    }

    {:reply, info, state}
  end

  @impl true
  def handle_cast({:stream, {pid, ref}, bytes, timeout_ms}, state) do
    request = %{to: {:stream, pid, ref}, bytes: bytes, size_out: 0, started: System.monotonic_time()}
    admit(request, pid, timeout_ms, state)
  end

  def handle_cast({:more, ref}, %{current: %{to: {:stream, _pid, ref}}, paused: true} = state) do
    {:noreply, go_on(state)}
  end

  def handle_cast({:forget, ref}, state) do
    withdraw(state, &match?(%{to: {:stream, _pid, ^ref}}, &1), nil) |> noreply()
  end

  def handle_cast(_message, state), do: {:noreply, state}

  defp admit(request, _pid, _timeout_ms, %{status: status} = state) when status not in [:starting, :ready] do
    answer(request, {:error, :down}, state)
    {:noreply, state}
  end

  defp admit(request, pid, timeout_ms, state) do
    monitor = Process.monitor(pid)
    timer = if timeout_ms != :infinity, do: Process.send_after(self(), {:timeout, monitor}, timeout_ms)
    request = Map.merge(request, %{monitor: monitor, timer: timer})
    next(%{state | queue: :queue.in(request, state.queue)}) |> noreply()
  end

  defp next(%{status: :ready, current: nil} = state) do
    case :queue.out(state.queue) do
      {:empty, _queue} -> state
      {{:value, request}, queue} -> begin(request, %{state | queue: queue})
    end
  end

  defp next(state), do: state

  defp begin(request, state) do
    case Exchange.send_off(state.exchange, request.bytes) do
      {:wait, exchange} ->
        write(request, state)
        # the answers to loose messages, or the beginning of a message, are the beginning of this answer
        {held, state} = take_chunks(%{state | exchange: exchange, current: request})
        if held == <<>>, do: state, else: deliver(held, state)

      {:nothing_owed, exchange} ->
        write(request, state)
        {held, state} = take_chunks(%{state | exchange: exchange, current: request})
        state = if held == <<>>, do: state, else: deliver(held, state)
        finish(:ok, state)

      {:error, text} ->
        finish({:error, {:malformed, text}}, %{state | current: request})
    end
  end

  defp write(request, state), do: state.config.transport.write(state.link, request.bytes)

  defp take_chunks(state) do
    {state.chunks |> Enum.reverse() |> IO.iodata_to_binary(), %{state | chunks: [], is_answer: false}}
  end

  @impl true
  def handle_info({:timeout, monitor}, state) do
    withdraw(state, &match?(%{monitor: ^monitor}, &1), {:error, :timeout}) |> noreply()
  end

  def handle_info({:cancel_timeout, monitor}, %{current: %{monitor: monitor}} = state) do
    broken(state, "a cancelled query did not end within #{state.config.cancel_timeout} ms") |> noreply()
  end

  def handle_info({:DOWN, _monitor, :process, pid, _reason}, %{config: %{owner: pid}} = state) do
    {:stop, :normal, state}
  end

  def handle_info({:DOWN, monitor, :process, _pid, _reason}, state) do
    withdraw(state, &match?(%{monitor: ^monitor}, &1), nil) |> noreply()
  end

  def handle_info(:launch, %{status: :down} = state),
    do: launch(%{state | restarts: state.restarts + 1}) |> noreply()

  def handle_info({:start_timeout, link}, %{link: link, status: :starting} = state) do
    text = "no session within #{state.config.startup_timeout} ms"
    broken(state, %StartError{reason: :timeout, message: text}) |> noreply()
  end

  def handle_info(:collect_garbage, state) do
    :erlang.garbage_collect()
    {:noreply, state}
  end

  def handle_info(message, %{link: link} = state) when link != nil do
    case state.config.transport.handle(link, message) do
      {:data, data} -> received(data, state) |> noreply()
      {:closed, reason} -> closed(state, reason) |> noreply()
      :ignore -> {:noreply, state}
      :unknown -> {:noreply, state}
    end
  end

  def handle_info(_late, state), do: {:noreply, state}

  defp received(data, state) do
    case Scanner.scan(state.scanner, data) do
      {:error, text} -> broken(state, text)
      {events, scanner} -> sort(data, events, %{state | scanner: scanner})
    end
  end

  # What was said changes the session; where it ends the exchange, the chunk is cut.
  defp sort(_data, events, %{status: :starting} = state) do
    case Enum.reduce_while(events, state, &starting/2) do
      %{status: :ready} = state -> state |> rearm() |> next()
      %{status: :starting} = state when state.fatal == nil -> rearm(state)
      %{status: :starting} = state -> broken(state, state.fatal)
      {:refuse, text} -> broken(state, %Error{severity: "FATAL", code: "28000", message: text})
    end
  end

  defp sort(data, events, state) do
    is_answer = state.is_answer or (state.current == nil and Exchange.is_open?(state.exchange))
    state = %{state | is_answer: is_answer}

    {state, cut} =
      Enum.reduce(events, {state, nil}, fn {type, body, offset}, {state, cut} ->
        was_over? = Exchange.is_over?(state.exchange)
        state = told(type, body, state)
        over? = not was_over? and Exchange.is_over?(state.exchange)
        {state, if(over? and state.current, do: offset, else: cut)}
      end)

    case cut do
      nil when state.current == nil ->
        %{state | chunks: [data | state.chunks]} |> tidy() |> rearm()

      nil ->
        deliver(data, state) |> rearm()

      cut ->
        <<answer::binary-size(cut), rest::binary>> = data
        state = deliver(answer, state)
        state = if rest == <<>>, do: state, else: %{state | chunks: [rest | state.chunks]}
        over(state) |> rearm()
    end
  end

  defp starting({?Z, _status, _offset}, state) do
    Process.cancel_timer(state.timer)
    for from <- state.waiters, do: GenServer.reply(from, :ok)

    Telemetry.emit(
      [:bridge, :ready],
      %{duration: Telemetry.since(state.since)},
      %{name: state.config.name, os_pid: os_pid(state), restarts: state.restarts}
    )

    {:halt, %{state | status: :ready, waiters: [], since: System.monotonic_time()}}
  end

  defp starting({?R, <<0::32, _rest::binary>>, _offset}, state), do: {:cont, state}

  defp starting({?R, <<kind::32, _rest::binary>>, _offset}, _state),
    do: {:halt, {:refuse, "the server wants authentication of kind #{kind}, which PgliteEx does not have"}}

  defp starting({type, body, _offset}, state), do: {:cont, told(type, body, state)}

  defp told(?Z, _status, state), do: %{state | exchange: Exchange.ready(state.exchange)}
  defp told(?G, _formats, state), do: %{state | exchange: Exchange.copy_in(state.exchange)}
  defp told(?K, <<pid::32, key::32>>, state), do: %{state | key: {pid, key}}

  defp told(?S, body, state) do
    case :binary.split(body, <<0>>, [:global]) do
      [key, value | _] -> put_in(state.parameters[:binary.copy(key)], :binary.copy(value))
      _cut_short -> state
    end
  end

  defp told(?E, body, state) do
    error = Error.from_fields(body)

    # before a session is ready every error is its end
    if state.status == :starting or error.severity in ["FATAL", "PANIC"],
      do: %{state | fatal: error},
      else: state
  end

  defp told(_type, _body, state), do: state

  # Gives a piece to whoever waits for it.
  defp deliver(piece, %{current: %{to: {:call, _from}} = request} = state) do
    request = %{request | size_out: request.size_out + byte_size(piece)}
    %{state | current: request, chunks: [piece | state.chunks]}
  end

  defp deliver(piece, %{current: %{to: {:stream, pid, ref}} = request} = state) do
    send(pid, {ref, {:piece, piece}})
    request = %{request | size_out: request.size_out + byte_size(piece)}
    %{state | current: request, paused: true}
  end

  # the answer to a query that was cancelled
  defp deliver(_piece, %{current: %{to: :nobody}} = state), do: state

  # COPY FROM STDIN of somebody who is not there any more: nobody will send the data.
  defp over(%{current: %{to: :nobody}, exchange: %{is_copying: true}} = state),
    do: broken(state, "a cancelled query was COPY FROM STDIN")

  defp over(state), do: finish(:ok, state)

  defp finish(outcome, %{current: request} = state) do
    # after the answer's end: what is in chunks beyond it stays
    {mine, rest} = if outcome == :ok, do: split_chunks(request, state.chunks), else: {[], state.chunks}
    state = %{state | current: nil, chunks: rest}

    result =
      case {outcome, request.to} do
        {:ok, {:call, _from}} -> {:ok, IO.iodata_to_binary(mine)}
        {outcome, _to} -> outcome
      end

    answer(request, result, state)
    state |> go_on() |> tidy() |> release(request.size_out + byte_size(request.bytes)) |> next()
  end

  # A large message would stay in memory until there is another one.
  defp release(state, size) do
    if size > @large_bytes, do: send(self(), :collect_garbage)
    state
  end

  # Newest first: pieces of the answer, and before them at most one that belongs to what comes next.
  defp split_chunks(%{to: {:call, _from}, size_out: size}, chunks) do
    total = IO.iodata_length(chunks)
    {rest, mine} = if total > size, do: Enum.split(chunks, 1), else: {[], chunks}
    {Enum.reverse(mine), rest}
  end

  defp split_chunks(_request, chunks), do: {[], chunks}

  # Nobody asked for what is whole and belongs to nothing: notices, notifications, changed parameters.
  defp tidy(%{current: nil, chunks: [_ | _]} = state) do
    if Scanner.is_between?(state.scanner) and not state.is_answer and not Exchange.is_open?(state.exchange) do
      {bytes, state} = take_chunks(state)
      if state.config.async, do: send(state.config.async, {:pglite_ex, self(), bytes})
      state
    else
      state
    end
  end

  defp tidy(state), do: state

  defp rearm(%{link: nil} = state), do: state
  defp rearm(%{paused: true} = state), do: state

  defp rearm(state) do
    state.config.transport.more(state.link)
    state
  end

  defp go_on(%{paused: true} = state), do: rearm(%{state | paused: false})
  defp go_on(state), do: state

  defp answer(request, result, state) do
    if timer = request[:timer], do: Process.cancel_timer(timer)
    if monitor = request[:monitor], do: Process.demonitor(monitor, [:flush])

    case request.to do
      {:call, from} -> GenServer.reply(from, result)
      {:stream, pid, ref} -> send(pid, {ref, {:done, result}})
      :nobody -> :ok
    end

    if request.to != :nobody, do: measure(request, result, state)
  end

  defp measure(request, result, state) do
    {told, size} =
      case result do
        {:ok, bytes} -> {:ok, byte_size(bytes)}
        :ok -> {:ok, request.size_out}
        {:error, reason} -> {reason, request.size_out}
      end

    Telemetry.emit(
      [:exec, :stop],
      %{duration: Telemetry.since(request.started), bytes_in: byte_size(request.bytes), bytes_out: size},
      %{name: state.config.name, result: told}
    )
  end

  # Somebody does not wait any more: a request in the queue is dropped, the current one cancelled and its answer swallowed. With a
  # result of nil there is nobody to tell.
  defp withdraw(state, matches?, result) do
    if state.current && matches?.(state.current) do
      give_up(state.current, result, state)
    else
      {dropped, kept} = state.queue |> :queue.to_list() |> Enum.split_with(matches?)
      for request <- dropped, do: answer(request_to(request, result), result, state)
      %{state | queue: :queue.from_list(kept)}
    end
  end

  defp request_to(request, nil), do: %{request | to: :nobody}
  defp request_to(request, _result), do: request

  defp give_up(%{to: :nobody}, _result, state), do: state

  defp give_up(request, result, state) do
    answer(request_to(request, result), result, state)
    # its messages from now on carry another reference, so that late ones of the request find nobody
    monitor = make_ref()
    Process.send_after(self(), {:cancel_timeout, monitor}, state.config.cancel_timeout)
    if state.key, do: state.config.transport.cancel(state.link, state.key)
    request = %{request | to: :nobody, monitor: monitor, timer: nil, bytes: <<>>}
    go_on(%{state | current: request, chunks: []})
  end

  # The other end is there but of no use.
  defp broken(state, reason) do
    state.config.transport.close(state.link, :now)
    down(%{state | link: nil}, reason)
  end

  defp closed(state, reason) do
    text = state.config.transport.explain(reason)
    state.config.transport.close(state.link, :gone)
    down(%{state | link: nil}, text)
  end

  defp down(state, reason) do
    was_up? = state.status == :ready
    if state.timer, do: Process.cancel_timer(state.timer)
    result = {:error, (was_up? && state.fatal) || :down}
    if state.current, do: answer(state.current, result, state)
    for request <- :queue.to_list(state.queue), do: answer(request, {:error, :down}, state)
    state = %{state | timer: nil, current: nil, queue: :queue.new(), chunks: [], key: nil, paused: false}

    cond do
      state.waiters != [] or (state.restarts == 0 and not was_up?) -> fail_start(state, reason)
      not state.config.restart -> %{state | status: :ended}
      true -> retry(state, reason, was_up?)
    end
  end

  defp fail_start(state, reason) do
    error =
      case state.fatal || reason do
        error when is_exception(error) -> error
        text when is_binary(text) -> %StartError{reason: :exited, message: text}
        reason when state.config.server != nil -> if is_atom(reason), do: :down, else: reason
        reason -> reason
      end

    for from <- state.waiters, do: GenServer.reply(from, {:error, error})
    %{state | status: :failed, error: error, waiters: []}
  end

  defp retry(state, reason, was_up?) do
    text =
      case state.fatal || reason do
        error when is_exception(error) -> Exception.message(error)
        text when is_binary(text) -> text
        reason -> state.config.transport.explain(reason)
      end

    Telemetry.emit([:bridge, :down], %{}, %{name: state.config.name, os_pid: nil, reason: text})

    up_ms =
      if was_up?, do: System.convert_time_unit(Telemetry.since(state.since), :native, :millisecond), else: 0

    {wait_ms, backoff} = Backoff.next(state.backoff, up_ms)
    Logger.warning("PgliteEx.Bridge: #{text}; a new session in #{wait_ms} ms")
    Process.send_after(self(), :launch, wait_ms)
    %{state | status: :down, backoff: backoff}
  end

  defp os_pid(%{link: %{os_pid: os_pid}}), do: os_pid
  defp os_pid(_state), do: nil

  @impl true
  def terminate(_reason, %{link: nil}), do: :ok

  def terminate(_reason, state) do
    how = if state.status == :ready and state.current == nil, do: :idle, else: :busy
    state.config.transport.close(state.link, how)
  end
end
