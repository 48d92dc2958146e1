/*
 * net.c
 *	  Addresses: numeric ones only, since a cell has no resolver and opens no connections.  PostgreSQL needs this for pg_hba.conf
 *	  and for showing where a client comes from.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct addrinfo *
make_entry(int family, const void *addr, socklen_t addrlen, int port, const struct addrinfo *hints)
{
	struct
	{
		struct addrinfo ai;
		struct sockaddr_storage ss;
	}		   *entry = calloc(1, sizeof *entry);

	if (!entry)
		return NULL;
	entry->ai.ai_family = family;
	entry->ai.ai_socktype = hints && hints->ai_socktype ? hints->ai_socktype : SOCK_STREAM;
	entry->ai.ai_addr = (struct sockaddr *) &entry->ss;
	entry->ss.ss_family = family;
	if (family == AF_INET)
	{
		struct sockaddr_in *sin = (struct sockaddr_in *) &entry->ss;

		memcpy(&sin->sin_addr, addr, addrlen);
		sin->sin_port = htons(port);
		entry->ai.ai_addrlen = sizeof *sin;
	}
	else
	{
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *) &entry->ss;

		memcpy(&sin6->sin6_addr, addr, addrlen);
		sin6->sin6_port = htons(port);
		entry->ai.ai_addrlen = sizeof *sin6;
	}
	return &entry->ai;
}

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
	int			family = hints ? hints->ai_family : AF_UNSPEC;
	int			port = service ? atoi(service) : 0;
	unsigned char addr[16];

	*res = NULL;
	if (node && family != AF_INET6 && inet_pton(AF_INET, node, addr) == 1)
		*res = make_entry(AF_INET, addr, 4, port, hints);
	else if (node && family != AF_INET && inet_pton(AF_INET6, node, addr) == 1)
		*res = make_entry(AF_INET6, addr, 16, port, hints);
	else
		return EAI_NONAME;
	return *res ? 0 : EAI_MEMORY;
}

void
freeaddrinfo(struct addrinfo *res)
{
	while (res)
	{
		struct addrinfo *next = res->ai_next;

		free(res);
		res = next;
	}
}

int
getnameinfo(const struct sockaddr *sa, socklen_t salen, char *host, socklen_t hostlen,
			char *serv, socklen_t servlen, int flags)
{
	int			port;

	(void) salen, (void) flags;
	if (sa->sa_family == AF_INET)
	{
		const struct sockaddr_in *sin = (const struct sockaddr_in *) sa;

		port = ntohs(sin->sin_port);
		if (host && hostlen && !inet_ntop(AF_INET, &sin->sin_addr, host, hostlen))
			return EAI_OVERFLOW;
	}
	else if (sa->sa_family == AF_INET6)
	{
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *) sa;

		port = ntohs(sin6->sin6_port);
		if (host && hostlen && !inet_ntop(AF_INET6, &sin6->sin6_addr, host, hostlen))
			return EAI_OVERFLOW;
	}
	else
		return EAI_FAMILY;
	if (serv && servlen && snprintf(serv, servlen, "%d", port) >= (int) servlen)
		return EAI_OVERFLOW;
	return 0;
}

const char *
gai_strerror(int code)
{
	return code == EAI_NONAME ? "Name does not resolve (only numeric addresses are supported)" :
		code == EAI_FAMILY ? "Unrecognized address family" :
		code == EAI_MEMORY ? "Out of memory" : "Unknown error";
}
