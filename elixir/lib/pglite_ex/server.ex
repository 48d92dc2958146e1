defmodule PgliteEx.Server do
  @moduledoc false
  # Owns one `pgcell serve`. Its standard input is the leash: when the BEAM ends, in whatever way, the pipe is closed and pgcell ends.
  #
  #   :starting ──ready line──▶ :ready ──exit──▶ :down ──back-off──▶ :starting
  #       └────────exit, time-out────────────────▶ │
  #
  # The address stays the same over restarts: the folder is ours, and a port that the system chose is asked for again.

  use GenServer
  require Logger

  alias PgliteEx.{Backoff, Command, StartError, Telemetry}

  @local_port 5432
  @line_bytes 4096
  @lines_kept 10
  # sun_path has 108 bytes, with the zero at its end
  @socket_path_max 107

  def init(config) do
    Process.flag(:trap_exit, true)
    Telemetry.discover()

    state = %{
      config: config,
      owns_dir: config.socket_dir == nil,
      socket_dir: config.socket_dir || new_socket_dir(),
      tcp: nil,
      port: nil,
      os_pid: nil,
      status: :starting,
      since: System.monotonic_time(),
      timer: nil,
      lines: [],
      waiters: [],
      restarts: 0,
      backoff: Backoff.new(config.backoff)
    }

    case local_path(state) do
      path when byte_size(path) > @socket_path_max ->
        {:ok,
         fail_start(
           state,
           :bad_option,
           "#{path} is too long for a Unix socket: at most #{@socket_path_max} bytes"
         )}

      _path ->
        {:ok, state, {:continue, :launch}}
    end
  end

  # Folders of users have long names on some machines.
  defp new_socket_dir do
    name = "pglite_ex-" <> Base.url_encode64(:rand.bytes(9))
    dir = Path.join(System.tmp_dir() || "/tmp", name)
    if byte_size(dir) > 80, do: Path.join("/tmp", name), else: dir
  end

  def handle_continue(:launch, state), do: {:noreply, launch(state)}

  defp launch(state) do
    port = Command.open(state.config.path, args(state), [:stderr_to_stdout, line: @line_bytes])
    timer = Process.send_after(self(), {:start_timeout, port}, state.config.startup_timeout)
    now = System.monotonic_time()

    %{
      state
      | port: port,
        os_pid: Command.os_pid(port),
        status: :starting,
        since: now,
        timer: timer,
        lines: []
    }
  rescue
    error in ErlangError ->
      down(state, :exited, "#{state.config.path} cannot be started: #{inspect(error.original)}")
  end

  defp args(state) do
    image = if state.config.image, do: ["--image", state.config.image], else: []

    ["serve", "--exit-with-stdin", "--listen", listen(state), "--socket-dir", state.socket_dir] ++
      image ++ state.config.args
  end

  defp listen(%{tcp: {host, port}}), do: address_text(host, port)
  defp listen(%{config: %{listen: :unix}}), do: "none"
  defp listen(%{config: %{listen: :tcp}}), do: "127.0.0.1:0"
  defp listen(%{config: %{listen: {host, port}}}), do: address_text(host, port)

  defp address_text(host, port),
    do: if(String.contains?(host, ":"), do: "[#{host}]:#{port}", else: "#{host}:#{port}")

  def handle_call(:await_ready, _from, %{status: :ready} = state), do: {:reply, :ok, state}

  def handle_call(:await_ready, _from, %{status: {:failed, error}} = state),
    do: {:reply, {:error, error}, state}

  def handle_call(:await_ready, from, state), do: {:noreply, %{state | waiters: [from | state.waiters]}}
  def handle_call(:address, _from, state), do: {:reply, address(state), state}

  def handle_call(:info, _from, state) do
    info = %{
      status: if(is_atom(state.status), do: state.status, else: :down),
      os_pid: state.os_pid,
      restarts: state.restarts,
      binary: state.config.path,
      version: state.config.version,
      socket_dir: state.socket_dir,
      tcp: state.tcp
    }

    {:reply, info, state}
  end

  def handle_call({:exec, _bytes, _timeout_ms}, _from, state), do: {:reply, not_a_session(), state}

  def handle_cast({:stream, {pid, ref}, _bytes, _timeout_ms}, state) do
    send(pid, {ref, {:done, not_a_session()}})
    {:noreply, state}
  end

  def handle_cast(_message, state), do: {:noreply, state}

  defp not_a_session do
    {:error, {:malformed, "this is a server, which has no session: start a PgliteEx.Bridge with server:"}}
  end

  defp address(state) do
    %{
      status: state.status,
      binary: state.config.path,
      database: state.config.database,
      username: state.config.username,
      socket_dir: state.socket_dir,
      local_port: @local_port,
      local: local_path(state),
      tcp: state.tcp
    }
  end

  # Beside TCP the socket has TCP's number in its name.
  defp local_path(%{tcp: {_host, port}} = state), do: Path.join(state.socket_dir, ".s.PGSQL.#{port}")
  defp local_path(state), do: Path.join(state.socket_dir, ".s.PGSQL.#{@local_port}")

  def handle_info({port, {:data, {_is_whole, line}}}, %{port: port} = state) do
    line = to_valid(line)
    state = %{state | lines: Enum.take([line | state.lines], @lines_kept)}

    case {state.status, line} do
      {:starting, "pgcell: ready on " <> addresses} -> {:noreply, ready(state, addresses)}
      {:ready, "  psql " <> _hint} -> {:noreply, state}
      _log -> {:noreply, tap(state, &log(&1, line))}
    end
  end

  def handle_info({port, {:exit_status, status}}, %{port: port} = state) do
    {:noreply, down(state, :exited, "pgcell serve ended with #{exit_text(status)}#{last_lines(state)}")}
  end

  def handle_info({:EXIT, port, reason}, %{port: port} = state) do
    {:noreply, down(state, :exited, "pgcell serve: its pipe is closed (#{inspect(reason)})")}
  end

  def handle_info({:start_timeout, port}, %{port: port, status: :starting} = state) do
    Command.stop(port, 0)
    text = "pgcell serve was not ready within #{state.config.startup_timeout} ms#{last_lines(state)}"
    {:noreply, down(state, :timeout, text)}
  end

  def handle_info(:launch, %{status: :down} = state),
    do: {:noreply, launch(%{state | restarts: state.restarts + 1})}

  # late messages of earlier ports, exits of whoever linked to us
  def handle_info(_message, state), do: {:noreply, state}

  defp ready(state, addresses) do
    Process.cancel_timer(state.timer)
    for from <- state.waiters, do: GenServer.reply(from, :ok)
    metadata = %{name: state.config.name, os_pid: state.os_pid, restarts: state.restarts}
    Telemetry.emit([:server, :ready], %{duration: Telemetry.since(state.since)}, metadata)

    %{
      state
      | status: :ready,
        lines: [],
        waiters: [],
        since: System.monotonic_time(),
        tcp: tcp_address(addresses)
    }
  end

  # "127.0.0.1:5432 and DIR/.s.PGSQL.5432", or one of both
  defp tcp_address(addresses) do
    case Regex.run(~r/\A(?:\[([^\]]+)\]|([^:\/ ]+)):(\d+)(?: and |\z)/, addresses) do
      [_all, "", host, port] -> {host, String.to_integer(port)}
      [_all, host, "", port] -> {host, String.to_integer(port)}
      nil -> nil
    end
  end

  # Whoever waits for the first start is told, and stops us; later starts are tried again.
  defp down(state, reason, text) do
    was_up? = state.status == :ready
    if state.timer, do: Process.cancel_timer(state.timer)
    os_pid = state.os_pid
    state = %{state | port: nil, os_pid: nil, timer: nil}

    if state.waiters != [] or (state.restarts == 0 and not was_up?) do
      fail_start(state, reason, text)
    else
      Telemetry.emit([:server, :down], %{}, %{name: state.config.name, os_pid: os_pid, reason: text})

      up_ms =
        if was_up?, do: System.convert_time_unit(Telemetry.since(state.since), :native, :millisecond), else: 0

      {wait_ms, backoff} = Backoff.next(state.backoff, up_ms)
      Logger.warning("PgliteEx: #{text}; starting again in #{wait_ms} ms")
      Process.send_after(self(), :launch, wait_ms)
      %{state | status: :down, backoff: backoff}
    end
  end

  defp fail_start(state, reason, text) do
    error = %StartError{reason: reason, message: text}
    for from <- state.waiters, do: GenServer.reply(from, {:error, error})
    %{state | status: {:failed, error}, waiters: []}
  end

  defp exit_text(status) when status > 128, do: "status #{status} (signal #{status - 128})"
  defp exit_text(status), do: "status #{status}"

  defp last_lines(%{lines: []}), do: ""
  defp last_lines(%{lines: lines}), do: ": " <> (lines |> Enum.reverse() |> Enum.join("; "))

  defp to_valid(line), do: if(String.valid?(line), do: line, else: inspect(line))

  defp log(%{config: %{log: false}}, _line), do: :ok

  # "pgcell: 2026-01-31T12:00:00.000Z warning cell=… text"
  defp log(_state, line) do
    level =
      case Regex.run(~r/\Apgcell: \S+Z (info|warning|error) /, line) do
        [_all, "info"] -> :debug
        [_all, level] -> String.to_existing_atom(level)
        nil -> :warning
      end

    Logger.log(level, line)
  end

  def terminate(_reason, state) do
    if state.port, do: Command.stop(state.port, state.config.shutdown_timeout)
    if state.owns_dir, do: File.rm_rf(state.socket_dir)
  end
end
