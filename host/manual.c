#include "manual.h"

#include "options.h"

void manual_begin(FILE *out)
{
	fputs(".Dd November 21, 2026\n"
	      ".Dt PGCELL 1\n"
	      ".Os\n"
	      ".Sh NAME\n"
	      ".Nm pgcell\n"
	      ".Nd PostgreSQL in thousands of isolated cells\n"
	      ".Sh SYNOPSIS\n"
	      ".Nm\n"
	      ".Ar command\n"
	      ".Op Ar option ...\n"
	      ".Sh DESCRIPTION\n"
	      ".Nm\n"
	      "is PostgreSQL 18, compiled to WebAssembly and from there to a native program.\n"
	      "A database is in a\n"
	      ".Em cell ,\n"
	      "a whole private PostgreSQL that is ready a few milliseconds after a client asks for it.\n"
	      "Any PostgreSQL client works.\n"
	      ".Pp\n"
	      "An option on the command line wins over its environment variable, that over the configuration file, and that\n"
	      "over the default.\n"
	      ".Sh COMMANDS\n",
	      out);
}

void manual_command(FILE *out, const char *name, const char *help)
{
	fprintf(out, ".Ss %s \\(en %s\n", name, help);
	if (options_know(name))
		options_print_mdoc(name, out);
	else
		fprintf(out, ".Ql pgcell %s \\-\\-help\nsays more, if there is more to say.\n", name);
}

void manual_end(FILE *out)
{
	fputs(".Sh CONFIGURATION FILE\n"
	      "Each line of the file of\n"
	      ".Fl -config\n"
	      "is the name of an option without its dashes, an equals sign and a value.\n"
	      "Values are in single quotes unless they are plain; inside of them two single quotes are one, and backslashes\n"
	      "escape as in\n"
	      ".Pa postgresql.conf .\n"
	      "An empty value is the default.\n"
	      "A number sign begins a comment.\n"
	      ".Bd -literal -offset indent\n"
	      "listen = 127.0.0.1:5432\n"
	      "socket\\-dir = '/run/pgcell'     # made if it is not there\n"
	      ".Ed\n"
	      ".Sh SIGNALS\n"
	      ".Bl -tag -width SIGTERM\n"
	      ".It Dv SIGTERM\n"
	      "Drains: nobody is let in any more, idle sessions end, statements that run may finish within\n"
	      ".Fl -drain-timeout .\n"
	      "A second one ends everything at once.\n"
	      ".It Dv SIGINT\n"
	      "Ends all sessions now, in good order.\n"
	      "A second one ends everything at once.\n"
	      ".It Dv SIGHUP\n"
	      "Reads the configuration again.\n"
	      ".El\n"
	      ".Sh EXIT STATUS\n"
	      "0 after an orderly end, 1 after an error or a second signal, 2 for arguments that are wrong.\n"
	      ".Sh SEE ALSO\n"
	      ".Xr psql 1\n",
	      out);
}
