/* The reduced model under sync in plain C: how fast a simulator without any generality is on this machine.
 *
 * Processes die on CPUs of their own and free entries one by one through one first-come, first-served lock.
 * A heap holds the events, by time and then by sequence. Arguments: processes, entries of the first (the next
 * has one more), gap, walk, outside, hold, handover and line in ns, repetitions. It prints the exit of the last
 * process in ns, the events of a run, and the CPU time of the fastest repetition in us. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MOST = 64, PTES = 512 };
typedef struct { long time, sequence; int process; } event;
typedef struct { long left, table, tables, entries; int inside, waited; } process;

static event heap[MOST + 2];
static process all[MOST];
static int queue[MOST], events, first, waiting, holder, last;
static long sequence, handled;

static int sooner(event a, event b) { return a.time < b.time || (a.time == b.time && a.sequence < b.sequence); }

static void schedule(long time, int who)
{
	event new = { time, ++sequence, who };
	int place = ++events;

	for (; place > 1 && sooner(new, heap[place / 2]); place /= 2)
		heap[place] = heap[place / 2];
	heap[place] = new;
}

static event next(void)
{
	event top = heap[1], end = heap[events--];
	int place = 1, child;

	for (; (child = 2 * place) <= events; place = child) {
		child += child < events && sooner(heap[child + 1], heap[child]);
		if (!sooner(heap[child], end))
			break;
		heap[place] = heap[child];
	}
	heap[place] = end;
	return top;
}

int main(int argc, char **argv)
{
	long a[9], best = 0, end = 0;

	for (int i = 0; i < 9; i++)
		a[i] = argc > i + 1 ? atol(argv[i + 1]) : 1;
	int count = a[0] < MOST ? a[0] : MOST;
	long gap = a[2], walk = a[3], outside = a[4], hold = a[5], handover = a[6], line = a[7];
	for (long repetition = 0; repetition < a[8]; repetition++) {
		clock_t begin = clock();
		events = first = waiting = 0, holder = last = -1, sequence = handled = 0;
		for (int i = 0; i < count; i++) {
			long entries = a[1] + i;
			all[i] = (process){ 0, 0, (entries + PTES - 1) / PTES, entries, 0, 0 };
			schedule(i * gap, i);
		}
		while (events) {
			event now = next();
			process *p = &all[now.process];

			handled++;
			if (p->inside) { /* its hold is over: the first waiter has the lock */
				p->inside = 0, p->left--, holder = -1;
				if (waiting) {
					int other = queue[first];

					first = (first + 1) % MOST, waiting--, holder = last = other;
					all[other].inside = 1;
					schedule(now.time + hold + handover, other);
				}
			} else if (p->waited) { /* its work outside is over: it wants the lock */
				p->waited = 0;
				if (holder >= 0) {
					queue[(first + waiting++) % MOST] = now.process;
					continue;
				}
				p->inside = 1, holder = now.process;
				schedule(now.time + hold + (last >= 0 && last != holder ? line : 0), holder);
				last = holder;
				continue;
			}
			if (p->left == 0 && p->table < p->tables) { /* the next page table */
				p->left = p->entries * (p->table + 1) / p->tables - p->entries * p->table / p->tables;
				p->table++;
				schedule(now.time + p->left * walk, now.process);
			} else if (p->left) {
				p->waited = 1;
				schedule(now.time + outside, now.process);
			} else {
				end = now.time;
			}
		}
		long took = (clock() - begin) * 1000000L / CLOCKS_PER_SEC;
		best = best == 0 || took < best ? took : best;
	}
	printf("%ld %ld %ld\n", end, handled, best);
	return 0;
}
