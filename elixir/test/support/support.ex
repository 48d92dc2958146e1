defmodule PgliteEx.Support do
  @moduledoc """
  The programs that tests run against, and the processes that they leave behind.

  The real one is `PGCELL_BINARY`, or `build/pgcell` of this tree. Where it does not know a command yet, `stand-in.py` has it, made of what the
  real one does know.
  """

  @stand_in Path.expand("stand-in.py", __DIR__)
  @mark "PGLITE_EX_TEST_MARK"

  def real do
    System.get_env("PGCELL_BINARY") || Path.expand("../../../build/pgcell", __DIR__)
  end

  @doc "What the real one can do of :serve (--exit-with-stdin), :port and :cell."
  def abilities do
    for {ability, args, wanted} <- [
          {:serve, ["serve", "--help"], "--exit-with-stdin"},
          {:port, ["port", "--help"], ""},
          {:cell, ["cell", "--help"], ""}
        ],
        {output, 0} <- [System.cmd(real(), args, stderr_to_stdout: true)],
        output =~ wanted,
        do: ability
  end

  @doc "Once, before the tests: marks the environment, so that what is ours can be told from what is others'."
  def prepare do
    System.put_env(@mark, "#{System.os_time()}-#{System.pid()}")
    folder = Path.join(System.tmp_dir!(), "pglite_ex-test-#{System.pid()}")
    File.mkdir_p!(folder)
    abilities = abilities()
    :persistent_term.put({__MODULE__, :folder}, folder)
    :persistent_term.put({__MODULE__, :abilities}, abilities)
    :persistent_term.put({__MODULE__, :stand_in}, write_stand_in([]))
    abilities
  end

  def folder, do: :persistent_term.get({__MODULE__, :folder})

  @doc "The program for tests of this ability."
  def binary(ability) do
    if ability in :persistent_term.get({__MODULE__, :abilities}),
      do: real(),
      else: :persistent_term.get({__MODULE__, :stand_in})
  end

  @doc "A program that is stand-in.py with these variables."
  def stand_in(variables), do: write_stand_in(variables)

  defp write_stand_in(variables) do
    variables = [{"TMPDIR", folder()}, {"STAND_IN_REAL", real()}, {"STAND_IN_LOG", "/dev/null"} | variables]
    exports = for {name, value} <- variables, do: "export #{name}='#{value}'\n"
    script("#{exports}exec python3 #{@stand_in} \"$@\"\n")
  end

  @doc "An executable shell script."
  def script(text) do
    path = Path.join(folder(), "pgcell-#{System.unique_integer([:positive])}")
    File.write!(path, "#!/bin/sh\n" <> text)
    File.chmod!(path, 0o755)
    path
  end

  @doc "Starts a server, or another child of PgliteEx, for the test or module that calls it."
  def server!(opts \\ []) do
    ExUnit.Callbacks.start_supervised!(
      {PgliteEx, Keyword.merge([binary: binary(:serve), log: false], opts)},
      id: make_ref()
    )
  end

  def bridge!(opts \\ []) do
    ours = if opts[:server], do: [], else: [binary: binary(:port)]
    ExUnit.Callbacks.start_supervised!({PgliteEx.Bridge, Keyword.merge(ours, opts)}, id: make_ref())
  end

  @doc "All living processes that carry this run's mark, with their command lines; the BEAM's own resolver is none of ours."
  def processes do
    mark = "#{@mark}=#{System.get_env(@mark)}"

    for name <- File.ls!("/proc"),
        name =~ ~r/\A\d+\z/,
        name != System.pid(),
        {:ok, environment} <- [File.read("/proc/#{name}/environ")],
        :binary.match(environment, mark) != :nomatch,
        is_alive?(name),
        not (command_line(name) =~ "inet_gethost"),
        do: {String.to_integer(name), command_line(name)}
  end

  def is_alive?(os_pid) do
    case File.read("/proc/#{os_pid}/stat") do
      {:ok, stat} -> not (stat =~ ~r/\) [ZX] /)
      {:error, _gone} -> false
    end
  end

  defp command_line(os_pid) do
    case File.read("/proc/#{os_pid}/cmdline") do
      {:ok, line} -> String.replace(line, <<0>>, " ")
      {:error, _gone} -> ""
    end
  end

  @doc "Calls fun until it is truthy; fails after so many milliseconds."
  def eventually(fun, within_ms \\ 5_000, what \\ "it") do
    deadline = System.monotonic_time(:millisecond) + within_ms
    poll(fun, deadline, within_ms, what)
  end

  defp poll(fun, deadline, within_ms, what) do
    cond do
      value = fun.() ->
        value

      System.monotonic_time(:millisecond) > deadline ->
        raise ExUnit.AssertionError, message: "#{what} did not come true within #{within_ms} ms"

      true ->
        Process.sleep(10)
        poll(fun, deadline, within_ms, what)
    end
  end

  @doc "Whether this is still running is what many tests end with."
  def assert_gone(os_pid, within_ms \\ 5_000) do
    eventually(fn -> not is_alive?(os_pid) end, within_ms, "the end of process #{os_pid}")
  end

  def kill(os_pid), do: PgliteEx.Command.signal(os_pid, "KILL")

  @doc "Sends events to a process, as {:telemetry, event, measurements, metadata}."
  def attach_telemetry(events, pid) do
    id = "pglite_ex-#{System.unique_integer()}"
    :ok = :telemetry.attach_many(id, events, &__MODULE__.tell/4, pid)
    id
  end

  def detach_telemetry(id), do: :telemetry.detach(id)

  @doc false
  def tell(event, measurements, metadata, pid), do: send(pid, {:telemetry, event, measurements, metadata})
end
