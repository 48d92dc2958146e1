defmodule PgliteEx.Backoff do
  @moduledoc false
  # How long to wait before the next attempt: doubling from min to max, up to a quarter of it taken off at random so that many
  # bridges of one server do not all come back in the same millisecond. What was up for `max` starts from the beginning.

  defstruct [:min_ms, :max_ms, next_ms: nil]

  def new({min_ms, max_ms}), do: %__MODULE__{min_ms: min_ms, max_ms: max_ms, next_ms: min_ms}

  def next(%__MODULE__{} = backoff, up_ms) do
    now_ms = if up_ms >= backoff.max_ms, do: backoff.min_ms, else: backoff.next_ms
    jitter_ms = :rand.uniform(div(now_ms, 4) + 1) - 1
    {now_ms - jitter_ms, %{backoff | next_ms: min(max(now_ms * 2, 1), backoff.max_ms)}}
  end
end
