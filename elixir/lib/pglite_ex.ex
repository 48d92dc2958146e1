defmodule PgliteEx do
  @moduledoc """
  A PostgreSQL of its own for an application: `pgcell`, owned by a supervisor.

      children = [
        {PgliteEx, name: MyApp.PG, otp_app: :my_app},
        MyApp.Repo
      ]

  The server is an operating-system process behind a Port; nothing of it runs inside of the BEAM. It ends with its supervisor, and with
  the BEAM however that ends. When it dies it is started again, with back-off, at the same address; until then calls return
  `{:error, :down}`. Its cells are in memory and new after a restart.

  A **cell** is a whole PostgreSQL with databases and roles of its own, made in milliseconds when somebody first connects to it.
  Ask for one with `connection_opts(server, cell: "alice")`; without a name it is the cell `default`.

    * `connection_opts/2`: what Postgrex, Ecto, or another driver wants to connect
    * `query/4`: without a driver
    * `create_cell/3`, `clone/4`, `drop/3`, `list_cells/2`
    * `PgliteEx.Bridge`: a session, and the raw protocol
    * `PgliteEx.Case`: a cell for each test
    * `PgliteEx.Telemetry`: events
    * `PgliteEx.Binary`: where the program is looked for
  """

  alias PgliteEx.{
    Binary,
    Bridge,
    Command,
    Error,
    Options,
    Protocol,
    Result,
    Server,
    StartError,
    Starter,
    Telemetry,
    Types
  }

  @command_timeout_ms 30_000
  @params_max 65_535

  @typedoc "A server: its pid or registered name."
  @type server :: GenServer.server()

  @typedoc "A cell's name: 1 to 63 of `A-Z a-z 0-9 _ . -`."
  @type cell :: String.t()

  @schema [
    {:name, nil, &Bridge.name?/1, "a name of a process"},
    {:mode, :server, {:one_of, [:server]}, ":server or :port"},
    {:binary, nil, :text, "a path"},
    {:otp_app, nil, :atom, "the name of an application"},
    {:image, nil, :text, "a path"},
    {:listen, :unix, &__MODULE__.listen?/1, ":unix, :tcp or {host, port}"},
    {:socket_dir, nil, :text, "a path"},
    {:database, "postgres", :text, "a database's name"},
    {:username, "postgres", :text, "a role's name"},
    {:args, [], :texts, "a list of arguments"},
    {:log, true, :flag, "true or false"},
    {:startup_timeout, 30_000, :positive_ms, "a number of milliseconds"},
    {:shutdown_timeout, 5_000, :positive_ms, "a number of milliseconds"},
    {:backoff, {100, 5_000}, :backoff, "{min, max} in milliseconds"}
  ]

  @doc false
  def listen?(value) when value in [:unix, :tcp], do: true
  def listen?({host, port}), do: is_binary(host) and is_integer(port) and port in 0..65_535
  def listen?(_other), do: false

  @doc """
  For a supervisor: `{PgliteEx, opts}`, with the options of `start_link/1`. Its id is the name, so that several can be in one
  supervisor.
  """
  @spec child_spec(keyword) :: Supervisor.child_spec()
  def child_spec(opts) do
    shutdown_ms = Keyword.get(opts, :shutdown_timeout, 5_000)

    %{
      id: Keyword.get(opts, :name, __MODULE__),
      start: {__MODULE__, :start_link, [opts]},
      shutdown: if(is_integer(shutdown_ms), do: shutdown_ms + 3_000, else: 8_000),
      type: :worker
    }
  end

  @doc """
  Starts a server and returns when it takes connections.

  Options:

    * `:name` - to register it; it is also its id in a supervisor
    * `:mode` - `:server`, or `:port` for one session without a server: then this is `PgliteEx.Bridge.start_link/1` and
      has its options
    * `:binary`, `:otp_app` - where `pgcell` is, see `PgliteEx.Binary`
    * `:image` - path of the image from which cells start; default `pgcell.img` beside the program
    * `:listen` - `:unix` (default), `:tcp` (127.0.0.1, a free port), or `{host, port}` with a loopback address. The Unix socket is there
      with TCP as well, and nobody but the user may open it; with TCP every user of the machine can connect
    * `:socket_dir` - folder of the Unix socket; default a temporary one that is removed at the end
    * `:database`, `:username` - defaults of `connection_opts/2` and `query/4`; default `"postgres"`
    * `:args` - more arguments for `pgcell serve`, a list of strings such as `["--max-cells", "100"]`
    * `:log` - whether the server's log lines go to `Logger`; default `true`. Its information is logged as debug
    * `:startup_timeout` - 1 to 86400000 milliseconds, default 30000
    * `:shutdown_timeout` - how long sessions may take to end before they are killed, 1 to 86400000 milliseconds, default 5000
    * `:backoff` - `{min, max}` between restarts, in milliseconds; default `{100, 5_000}`, doubling

  Errors: `{:error, %PgliteEx.StartError{}}`, whose `:reason` and message tell what to do, or `{:error, {:already_started, pid}}`. The caller
  gets them as values; no exit comes through the link.
  """
  @spec start_link(keyword) ::
          {:ok, pid} | {:error, StartError.t() | Error.t() | {:already_started, pid} | term}
  def start_link(opts \\ []) do
    if Keyword.keyword?(opts) and opts[:mode] == :port do
      opts |> Keyword.delete(:mode) |> Bridge.start_link()
    else
      with {:ok, config} <- Options.check(opts, @schema, "PgliteEx.start_link/1"),
           {:ok, path} <- Binary.find(opts),
           {:ok, version} <- Binary.check(path) do
        Starter.start(Server, Map.merge(config, %{path: path, version: version}), :link)
      end
    end
  end

  @doc "Ends a server, or a bridge, and its process; returns when that is gone."
  @spec stop(server) :: :ok
  def stop(server), do: Bridge.stop(server)

  @doc """
  What to give to `Postgrex.start_link/1`, or into the configuration of an Ecto repository.

  With a Unix socket `:socket_dir` and `:port`, with TCP `:hostname` and `:port`; and `:database` (with the cell in it) and
  `:username`. They stay the same while the server lives, over restarts of its process too.

  Options: `:cell` (default: the cell `default`), `"new"` being a private cell for each connection; `:database` and `:username`, default those
  of the server.

  Raises `ArgumentError` if there is no such server, or the cell's name is none.

      iex> PgliteEx.connection_opts(MyApp.PG, cell: "alice")
      [socket_dir: "/tmp/pglite_ex-0aWm", port: 5432, database: "postgres@alice", username: "postgres"]
  """
  @spec connection_opts(server, keyword) :: keyword
  def connection_opts(server, opts \\ []) do
    opts = Keyword.validate!(opts, [:cell, :database, :username])

    case address(server) do
      {:ok, %{session: :own}} ->
        raise ArgumentError, "#{inspect(server)} is a bridge: nobody can connect to it"

      {:ok, address} ->
        database = database_in_cell(opts[:database] || address.database, opts[:cell])
        where(address) ++ [database: database, username: opts[:username] || address.username]

      {:error, :down} ->
        raise ArgumentError, "there is no PgliteEx server #{inspect(server)}"
    end
  end

  defp where(%{tcp: {host, port}}), do: [hostname: host, port: port]
  defp where(address), do: [socket_dir: address.socket_dir, port: address.local_port]

  @doc false
  def address(server) do
    case GenServer.call(server, :address, :infinity) do
      %{} = address -> {:ok, address}
      :neither -> {:error, :down}
    end
  catch
    :exit, _down -> {:error, :down}
  end

  @doc false
  def database_in_cell(database, nil), do: database

  def database_in_cell(database, cell) do
    if Options.cell_name?(cell) do
      "#{database}@#{cell}"
    else
      raise ArgumentError, "a cell's name is 1 to 63 of A-Z a-z 0-9 _ . -, not #{inspect(cell)}"
    end
  end

  @doc """
  What the server is: `:status` (`:starting`, `:ready` or `:down`), `:os_pid` of its process (`nil` while it is down), `:restarts`, `:binary`,
  `:version`, `:socket_dir`, `:tcp` (`{host, port}` or `nil`).
  """
  @spec info(server) :: {:ok, map} | {:error, :down}
  def info(server), do: Bridge.info(server)

  @doc """
  Runs one query, without a driver.

  `target` is a bridge, or a server: then a session is opened in its cell and closed again, which costs a few milliseconds. Settings,
  temporary tables and transactions last as long as the session.

  Without parameters the query may be several statements, separated by semicolons; the result is the last one's. With parameters (`$1` and
  so on; at most 65535) it is one statement. Values: see `PgliteEx.Types`.

  Options:

    * `:timeout` - 0 to 86400000 milliseconds or `:infinity`, default 15000; then the query is cancelled
    * `:cell`, `:database`, `:username` - with a server only, as in `connection_opts/2`

  Errors: PostgreSQL's as `{:error, %PgliteEx.Error{}}` (a parameter that can't be sent is one with the code `"22023"`),
  and those of `PgliteEx.Bridge`.

      iex> PgliteEx.query(MyApp.PG, "select $1::int + 1 as next", [41])
      {:ok, %PgliteEx.Result{command: "SELECT", num_rows: 1, columns: ["next"], rows: [[42]]}}
  """
  @spec query(server | Bridge.t(), String.t(), [term], keyword) ::
          {:ok, Result.t()} | {:error, Bridge.reason()}
  def query(target, sql, params \\ [], opts \\ []) when is_binary(sql) and is_list(params) do
    opts = Keyword.validate!(opts, [:cell, :database, :username, timeout: 15_000])

    with {:ok, message} <- message(sql, params) do
      case address(target) do
        {:ok, %{session: :own}} ->
          run(target, message, opts)

        {:ok, address} ->
          in_session(target, address, message, opts)

        {:error, :down} = error ->
          error
      end
    end
  end

  defp message(sql, params) do
    with :ok <- without_zero(sql, "the query"),
         {:ok, values} <- encode(params, 1, []) do
      if params == [] do
        {:ok, Protocol.query(sql)}
      else
        {:ok,
         [
           Protocol.parse("", sql),
           Protocol.bind("", values),
           Protocol.describe(),
           Protocol.execute(),
           Protocol.sync()
         ]}
      end
    end
  end

  defp without_zero(text, what) do
    if :binary.match(text, <<0>>) == :nomatch,
      do: :ok,
      else:
        {:error,
         %Error{code: "22021", message: "#{what} has a zero byte in it, which PostgreSQL's text can't have"}}
  end

  defp encode([], _number, values), do: {:ok, Enum.reverse(values)}

  defp encode(_params, number, _values) when number > @params_max,
    do: {:error, %Error{code: "54000", message: "a query has at most #{@params_max} parameters"}}

  defp encode([param | params], number, values) do
    with {:ok, text} <- encode_one(param, number),
         :ok <- without_zero(text || "", "parameter $#{number}"),
         do: encode(params, number + 1, [text | values])
  end

  defp encode_one(param, number) do
    with :error <- Types.encode(param) do
      text = "parameter $#{number} can't be sent: #{inspect(param, limit: 5)}; see PgliteEx.Types"
      {:error, %Error{code: "22023", message: text}}
    end
  end

  defp in_session(server, address, message, opts) do
    session = [
      server: server,
      cell: opts[:cell],
      database: opts[:database] || address.database,
      username: opts[:username] || address.username,
      owner: self(),
      restart: false,
      startup_timeout: if(opts[:timeout] == :infinity, do: 86_400_000, else: max(opts[:timeout], 1))
    ]

    with {:ok, bridge} <- session |> Bridge.start() |> started() do
      try do
        run(bridge, message, opts)
      after
        Bridge.stop(bridge)
      end
    end
  end

  defp started({:error, %StartError{reason: :timeout}}), do: {:error, :timeout}
  # A server that is down refuses connections, or its socket is not there.
  defp started({:error, %StartError{reason: :bad_option} = error}), do: raise(ArgumentError, error.message)
  defp started({:error, %StartError{}}), do: {:error, :down}
  defp started(other), do: other

  defp run(bridge, message, opts) do
    with {:ok, answer} <- Bridge.exec_protocol_raw(bridge, message, timeout: opts[:timeout]) do
      case Protocol.fold(answer, nil, fn type, _body, _last -> type end) do
        ?G -> refuse_copy(bridge, message, opts)
        _complete -> Protocol.result(answer)
      end
    end
  end

  # COPY FROM STDIN wants data that query/4 does not have.
  defp refuse_copy(bridge, message, opts) do
    fail = Protocol.copy_fail("query/4 has no data for COPY; use PgliteEx.Bridge.exec_protocol_raw/3")
    sync = if match?([<<?Q, _length::32>> | _], message), do: [], else: Protocol.sync()

    with {:ok, answer} <- Bridge.exec_protocol_raw(bridge, [fail, sync], timeout: opts[:timeout]),
         do: Protocol.result(answer)
  end

  @doc """
  Makes a cell. Not needed for one that is to be made on first use, as every name in `connection_opts/2` is.

  Options: `:template`, name of a cell whose content it begins with; `:timeout` in milliseconds, default 30000.

  Errors: `{:error, :down}`, `{:error, :timeout}`, and what `pgcell` says as `{:error, %PgliteEx.Error{}}`, for instance that there is
  such a cell already.
  """
  @spec create_cell(server, cell, keyword) :: :ok | {:error, :down | :timeout | Error.t()}
  def create_cell(server, cell, opts \\ []) do
    opts = Keyword.validate!(opts, [:template, timeout: @command_timeout_ms])
    template = if opts[:template], do: ["--template", named(opts[:template])], else: []
    cell_command(server, :create, [named(cell)], template, opts) |> nothing()
  end

  @doc """
  Makes the cell `cell` a copy of the cell `source`. Options and errors as `create_cell/3`, without `:template`.
  """
  @spec clone(server, cell, cell, keyword) :: :ok | {:error, :down | :timeout | Error.t()}
  def clone(server, source, cell, opts \\ []) do
    opts = Keyword.validate!(opts, timeout: @command_timeout_ms)
    cell_command(server, :clone, [named(source), named(cell)], [], opts) |> nothing()
  end

  @doc """
  Drops a cell, or a list of cells, with all that is in them. Its sessions are ended. Options and errors as `create_cell/3`, without
  `:template`.
  """
  @spec drop(server, cell | [cell], keyword) :: :ok | {:error, :down | :timeout | Error.t()}
  def drop(server, cell, opts \\ []) do
    opts = Keyword.validate!(opts, timeout: @command_timeout_ms)
    cells = cell |> List.wrap() |> Enum.map(&named/1)
    if cells == [], do: :ok, else: cell_command(server, :drop, cells, [], opts) |> nothing()
  end

  @doc """
  The server's cells, as maps with `:name`, `:state` (text), `:sessions` (a number) and `:memory` (bytes). Options and errors as
  `create_cell/3`, without `:template`.
  """
  @spec list_cells(server, keyword) ::
          {:ok, [%{name: cell, state: String.t(), sessions: non_neg_integer, memory: non_neg_integer}]}
          | {:error, :down | :timeout | Error.t()}
  def list_cells(server, opts \\ []) do
    opts = Keyword.validate!(opts, timeout: @command_timeout_ms)

    with {:ok, output} <- cell_command(server, :list, [], [], opts) do
      {:ok,
       for(
         line <- String.split(output, "\n", trim: true),
         [_ | _] = cell <- [cell_line(line)],
         do: Map.new(cell)
       )}
    end
  end

  defp cell_line(line) do
    with [name, state, sessions, memory | _later] <- String.split(line, "\t"),
         {sessions, ""} <- Integer.parse(sessions),
         {memory, ""} <- Integer.parse(memory) do
      [name: name, state: state, sessions: sessions, memory: memory]
    else
      _other -> []
    end
  end

  defp named(cell) do
    if Options.cell_name?(cell) and not String.starts_with?(cell, "-"),
      do: cell,
      else:
        raise(
          ArgumentError,
          "a cell's name is 1 to 63 of A-Z a-z 0-9 _ . - and does not begin with -: #{inspect(cell)}"
        )
  end

  defp nothing({:ok, _output}), do: :ok
  defp nothing(error), do: error

  defp cell_command(server, command, cells, more, opts) do
    start = System.monotonic_time()

    result =
      case address(server) do
        {:ok, %{status: :ready} = address} ->
          args = ["cell", Atom.to_string(command)] ++ cells ++ more ++ ["--socket-dir", address.socket_dir]
          Command.run(address.binary, args, opts[:timeout]) |> said() |> unless_down(server)

        _down ->
          {:error, :down}
      end

    Telemetry.emit([:cell, :stop], %{duration: Telemetry.since(start)}, %{
      server: server,
      command: command,
      cells: cells,
      result: with({:ok, _output} <- result, do: :ok, else: ({:error, reason} -> reason))
    })

    result
  end

  # What the command says of a server that died meanwhile is of no interest.
  defp unless_down({:error, %Error{}} = error, server) do
    if match?({:ok, %{status: :ready}}, address(server)), do: error, else: {:error, :down}
  end

  defp unless_down(result, _server), do: result

  defp said({:ok, output}), do: {:ok, output}
  defp said({:error, :timeout}), do: {:error, :timeout}

  defp said({:error, {:start, reason}}),
    do: {:error, %Error{message: "pgcell cannot be started: #{inspect(reason)}"}}

  defp said({:error, {:exit, status, output}}) do
    text = output |> String.trim() |> String.replace(~r/\Apgcell(?: [a-z]+)*: /, "")
    {:error, %Error{message: if(text == "", do: "pgcell cell ended with status #{status}", else: text)}}
  end
end
