defmodule PgliteEx.Command do
  @moduledoc false
  # Short-lived programs, and the ends of long-lived ones. Each runs in a process of its own: nothing arrives in the caller's
  # mailbox but one answer, and a program that does not come back in time is killed.

  @output_max_bytes 1_048_576
  @kill_wait_ms 1_000

  @type failure :: {:exit, non_neg_integer, String.t()} | {:start, term} | :timeout

  @doc false
  # Output is stdout and stderr, as they come.
  @spec run(Path.t(), [String.t()], timeout) :: {:ok, String.t()} | {:error, failure}
  def run(program, args, timeout_ms) do
    {pid, ref} = spawn_monitor(fn -> exit({:done, execute(program, args, timeout_ms)}) end)

    receive do
      {:DOWN, ^ref, :process, ^pid, {:done, outcome}} -> outcome
      {:DOWN, ^ref, :process, ^pid, reason} -> {:error, {:start, reason}}
    end
  end

  defp execute(program, args, timeout_ms) do
    port = open(program, args, [:stderr_to_stdout])
    timer = Process.send_after(self(), :timeout, timeout_ms)
    outcome = collect(port, [], 0)
    Process.cancel_timer(timer)
    outcome
  rescue
    error in ErlangError -> {:error, {:start, error.original}}
  end

  defp collect(port, output, size) do
    receive do
      {^port, {:data, data}} when size < @output_max_bytes ->
        collect(port, [output, data], size + byte_size(data))

      {^port, {:data, _too_much}} ->
        collect(port, output, size)

      {^port, {:exit_status, 0}} ->
        {:ok, IO.iodata_to_binary(output)}

      {^port, {:exit_status, status}} ->
        {:error, {:exit, status, IO.iodata_to_binary(output)}}

      :timeout ->
        stop(port, 0)
        {:error, :timeout}
    end
  end

  @doc false
  # Raises ErlangError (:enoent, :eacces, :emfile, …). The caller owns the port.
  def open(program, args, more) do
    Port.open(
      {:spawn_executable, String.to_charlist(program)},
      [:binary, :exit_status, :hide, :use_stdio, {:args, args} | more]
    )
  end

  @doc false
  def os_pid(port) do
    case Port.info(port, :os_pid) do
      {:os_pid, pid} -> pid
      nil -> nil
    end
  end

  @doc false
  # Asks the program to end, waits, and kills it if it does not. The port must be the caller's, opened with :exit_status.
  # Returns when the program is gone.
  def stop(port, timeout_ms) do
    os_pid = os_pid(port)

    with :running <- await_exit(port, 0),
         _ <- timeout_ms > 0 && signal(os_pid, "TERM"),
         :running <- await_exit(port, timeout_ms) do
      signal(os_pid, "KILL")
      await_exit(port, @kill_wait_ms)
    end

    close(port)
  end

  @doc false
  def await_exit(port, timeout_ms) do
    receive do
      {^port, {:exit_status, status}} -> {:exited, status}
    after
      timeout_ms -> if Port.info(port) == nil, do: {:exited, nil}, else: :running
    end
  end

  @doc false
  def close(port) do
    Port.close(port)
    :ok
  rescue
    # closed by itself
    ArgumentError -> :ok
  end

  @doc false
  # The BEAM has no kill(2); a shell has it built in, unlike images without procps.
  def signal(nil, _name), do: :ok

  def signal(os_pid, name) when is_integer(os_pid) and os_pid > 1 do
    {pid, ref} =
      spawn_monitor(fn ->
        System.cmd("/bin/sh", ["-c", "kill -s #{name} #{os_pid}"], stderr_to_stdout: true)
      end)

    receive do
      {:DOWN, ^ref, :process, ^pid, _reason} -> :ok
    end
  end
end
