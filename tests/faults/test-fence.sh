#!/bin/bash
# usage: test-fence.sh [INTRINSICS.H]
# The contract's fences keep the host's compiler from moving plain loads: of two loads with a fence between them, the first must come
# first in the machine code as well. clang's MachineSink moved it down, past __atomic_thread_fence(), to where its value is used; PostgreSQL
# saw "IO in wrong state: 0" with many sessions in a cell, because pgaio_io_was_recycled() looked at the generation before the state.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
intrinsics=${1:-$here/../../host/intrinsics.h}
status=0

for fence in w2c_pgcell_fence w2c_pgcell_fence_acqrel; do
    for space in '' __seg_gs; do
        code=$(sed -e "s/FENCE/$fence/" -e "s/SPACE/$space/" <<'END' | clang-19 -std=gnu11 -O2 -fno-strict-aliasing -include "$intrinsics" -x c -S -o - -
extern void use(uint32_t state);
void wait_for(struct w2c_pgcell *host, uint32_t at, uint64_t generation);
void wait_for(struct w2c_pgcell *host, uint32_t at, uint64_t generation)
{
	uint32_t state = *(const uint8_t SPACE *)(uintptr_t)at;

	FENCE(host);
	if (*(const uint64_t SPACE *)(uintptr_t)(at + 48ull) == generation)
		use(state);
}
END
)
        # which comes first: the byte or the comparison
        if grep -m1 -oE 'movzbl|cmpq' <<<"$code" | grep -q movzbl; then
            echo "ok      $fence${space:+, $space}"
        else
            echo "FAILED  $fence${space:+, $space}: the second load comes first"
            status=1
        fi
    done
done
exit $status
