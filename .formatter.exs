[
  inputs: ["{mix,.formatter}.exs", "{elixir,examples}/**/*.{ex,exs}"],
  line_length: 100
]
