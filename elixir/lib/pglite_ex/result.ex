defmodule PgliteEx.Result do
  @moduledoc """
  What `PgliteEx.query/4` returns.

    * `:command`: PostgreSQL's command tag without its numbers, such as `"SELECT"` or `"CREATE TABLE"`; `nil` for an empty query
    * `:num_rows`: rows returned or changed, 0 or more; `nil` if the command has none
    * `:columns`: names, in order; `nil` for a command without a result set
    * `:rows`: lists of values in the order of the columns, see `PgliteEx.Types`; `nil` as `:columns`. What `COPY … TO STDOUT`
      sends is in `:rows`, one list with one binary for each line, and `:columns` is `nil`
  """

  defstruct command: nil, num_rows: nil, columns: nil, rows: nil

  @type t :: %__MODULE__{
          command: String.t() | nil,
          num_rows: non_neg_integer | nil,
          columns: [String.t()] | nil,
          rows: [[term]] | nil
        }
end
