/*
 * libFuzzer target for guest/comm/polling.c and stream.c: a host that calls the exports in any order and writes any words into
 * what it can reach, while the guest reads and sends.
 *
 * Includes polling.c to know what the guest believes, and for small buffers.  A model has every byte that the guest took from
 * the input buffer and every byte that it sent: they come out on the other side, in order, once.  The data of a chunk that is
 * being read may change under the guest; of a chunk of output, only the host would suffer.
 */
#define PGLITE_BUFFER_SIZE 1024
#include "../guest/comm/polling.c"

#include <stdlib.h>

void *pglite_alloc_shared(size_t len_bytes)
{
	static uint64_t shared[(2 * (PGLITE_BUFFER_SIZE + 8) + 64) / 8];

	return len_bytes <= sizeof shared ? shared : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MODEL_MAX (4 * 1024 * 1024)

static const uint8_t *ops;
static size_t op_count, op_at;

/* what the guest took and has not handed on; and what the guest sent and the host has not copied */
static uint8_t taken_bytes[MODEL_MAX], sent_bytes[MODEL_MAX];
static size_t taken_start, taken_end, sent_start, sent_end;
static uint32_t errors_expected, input_chunks_expected, output_chunks_expected;

static void check(int is_true)
{
	if (!is_true)
		abort();
}

static uint8_t next_op(void)
{
	return op_at < op_count ? ops[op_at++] : 0;
}

static uint32_t next_word(void)
{
	uint8_t kind = next_op();
	uint32_t word;

	switch (kind % 4) {
	case 0:
		return kind / 4;
	case 1:
		return PGLITE_BUFFER_SIZE - 4 + kind / 4 % 8;
	case 2:
		return (uint32_t)next_op() * 4 + kind / 64;
	default:
		word = (uint32_t)next_op() << 24;
		word |= (uint32_t)next_op() << 16;
		return word | next_op();
	}
}

static void fill_input(void)
{
	uint8_t kind = next_op();

	/* from the fuzzer, or something that frames */
	for (uint32_t i = 0; i < PGLITE_BUFFER_SIZE; i++)
		input_buffer.data[i] = kind % 2 ? "S\0\0\0\4"[i % 5] : (uint8_t)(i * kind + i / 256);
	for (uint32_t i = 0; i < kind % 16u; i++)
		input_buffer.data[i] = next_op();
}

static void take_from_buffer(uint32_t start, uint32_t end, const uint8_t *bytes)
{
	check(start <= end && end <= PGLITE_BUFFER_SIZE);
	memcpy(taken_bytes + taken_end, bytes + start, end - start);
	taken_end += end - start;
}

static void guest_receives(size_t n)
{
	static uint8_t buf[4 * PGLITE_BUFFER_SIZE], bytes[PGLITE_BUFFER_SIZE];
	bool had_begun = input.length > 0;
	uint32_t status = input_buffer.status, length = had_begun ? input.length : input_buffer.length;
	uint32_t before = had_begun ? input.taken : 0, chunks = shown.input_chunks;
	bool is_bad = !had_begun && status != PGLITE_BUFFER_EMPTY && (status != PGLITE_BUFFER_READY || length > PGLITE_BUFFER_SIZE);
	int32_t got;

	memcpy(bytes, input_buffer.data, sizeof(bytes));
	got = stream_recv(buf, n < sizeof(buf) ? n : sizeof(buf));
	if (input.length > 0)
		take_from_buffer(before, input.taken, bytes);
	else if (shown.input_chunks != chunks)
		take_from_buffer(before, length, bytes);
	if (got > 0) {
		check((size_t)got <= n && (size_t)got <= taken_end - taken_start);
		check(memcmp(buf, taken_bytes + taken_start, (size_t)got) == 0);
		taken_start += (size_t)got;
	} else {
		/* nothing is left in a buffer that was looked at */
		check(got == (is_bad ? -PGLITE_EPROTO : 0));
		check(input.length == 0 && input_buffer.status == PGLITE_BUFFER_EMPTY);
		if (is_bad) {
			errors_expected++;
			check(shown.last_error == PGLITE_EPROTO);
		}
	}
	check(shown.input_chunks - chunks <= 1);
	input_chunks_expected += shown.input_chunks - chunks;
}

static void host_signals(int32_t length)
{
	bool is_refused = length < 0 || length > PGLITE_BUFFER_SIZE || (length > 0 && input.length > 0);
	int32_t result = pglite_signal_input_ready(length);

	if (is_refused) {
		check(result == -PGLITE_EINVAL && shown.last_error == PGLITE_EINVAL);
		errors_expected++;
		return;
	}
	check(result == length);
	if (length > 0) {
		take_from_buffer(0, (uint32_t)length, input_buffer.data);
		input_chunks_expected++;
		check(input_buffer.status == PGLITE_BUFFER_EMPTY && input_buffer.length == 0);
	}
}

static void host_acknowledges(void)
{
	bool was_ready = output.is_ready;
	int32_t result;

	if (was_ready) {
		check(memcmp(output_buffer.data, sent_bytes + sent_start, output.length) == 0);
		sent_start += output.length;
		output_chunks_expected++;
	} else {
		errors_expected++;
	}
	result = pglite_ack_output();
	if (!was_ready)
		check(result == -PGLITE_EINVAL && shown.last_error == PGLITE_EINVAL);
	else
		check(result >= 0 && result == pglite_get_output_length());
}

static void guest_sends(size_t n)
{
	for (size_t i = 0; i < n; i++)
		sent_bytes[sent_end + i] = (uint8_t)((sent_end + i) * 11 + (sent_end + i) / 255);
	check(stream_send(sent_bytes + sent_end, n) == (int32_t)n);
	sent_end += n;
}

static void forget_all(void)
{
	taken_start = taken_end;
	sent_start = sent_end;
}

static void check_words(void)
{
	check(control.magic == PGLITE_CONTROL_MAGIC && control.buffer_size == PGLITE_BUFFER_SIZE);
	check(control.errors == errors_expected);
	check(control.input_chunks == input_chunks_expected);
	check(control.output_chunks == output_chunks_expected);
	check(output_buffer.status == (output.is_ready ? PGLITE_BUFFER_READY : PGLITE_BUFFER_EMPTY));
	check(output_buffer.length == (output.is_ready ? output.length : 0));
	check(output.length <= PGLITE_BUFFER_SIZE && input.taken <= input.length && input.length <= PGLITE_BUFFER_SIZE);
	check(input.length == 0 || (input_buffer.status == PGLITE_BUFFER_READY && input_buffer.length == input.length));
	check(sent_end - sent_start == output.length + stream_output_pending());
	check(stream_output_pending() == 0 || output.is_ready);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pglite_transport_state kept;

	ops = data;
	op_count = size;
	op_at = 0;
	forget_all();
	taken_start = taken_end = sent_start = sent_end = 0;
	memset(&shown, 0, sizeof(shown));
	errors_expected = input_chunks_expected = output_chunks_expected = 0;
	stream_begin();

	while (op_at < op_count && taken_end < MODEL_MAX - 8 * PGLITE_BUFFER_SIZE && sent_end < MODEL_MAX - 70000) {
		switch (next_op() % 18) {
		case 0:
			fill_input();
			host_signals((int32_t)next_word());
			break;
		case 1:
			host_signals((int32_t)next_word());
			break;
		case 2:
			fill_input();
			input_buffer.length = next_word();
			input_buffer.status = PGLITE_BUFFER_READY;
			break;
		case 3:
			input_buffer.length = next_word();
			break;
		case 4:
			input_buffer.status = next_word();
			break;
		case 5:
			output_buffer.length = next_word();
			break;
		case 6:
			output_buffer.status = next_word();
			break;
		case 7:
			((volatile uint32_t *)&control)[next_op() % 8] = next_word();
			break;
		case 8:
		case 9:
			guest_receives(1 + next_word() % 5000);
			break;
		case 10:
			guest_sends(next_word() % 66000);
			break;
		case 11:
			(void)stream_flush();
			check(output.is_ready == (sent_end > sent_start));
			break;
		case 12:
		case 13:
			host_acknowledges();
			break;
		case 14:
			pglite_reset_buffers();
			forget_all();
			check(input_buffer.status == PGLITE_BUFFER_EMPTY && stream_wanted() == 0);
			break;
		case 15:
			stream_expect_messages();
			break;
		case 16:
			if (next_op() % 4 == 0) {
				pglite_transport_save(&kept);
				memset(&control, 0, sizeof(control));
				memset(&shown, 0, sizeof(shown));
				pglite_transport_restore(&kept);
				stream_begin();
				forget_all();
			}
			break;
		default:
			if (next_op() % 2) {
				pglite_transport_enter();
				check(control.operation == PGLITE_OPERATION_RUNNING);
			} else {
				pglite_transport_leave(-1);
				check(control.operation == PGLITE_OPERATION_NONE && control.status == -1);
			}
		}
		/* the guest writes its words at each call: make one that does nothing else */
		check(pglite_has_output() == output.is_ready);
		check_words();
	}
	/* all the output, in the end */
	(void)stream_flush();
	while (pglite_has_output())
		host_acknowledges();
	check(sent_start == sent_end);
	stream_begin();
	return 0;
}
