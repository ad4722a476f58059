/* A series never has more points than it has room for, from the first to the last moment, in order; ticks that come too
 * early take none; and when all points were taken, it goes on with half of them, twice as far apart. */
#include "emma_report_series.h"
#include "emma_test.h"

#include <time.h>

enum { MOST_SECONDS = 20, BLOCK_BYTES = 1000, FEW_TICKS = 1000 };

static emma_report_series series;

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void check_order(const emma *instance)
{
    CHECK_GT(series.count, 0);
    CHECK_LE(series.count, EMMA_REPORT_POINTS);
    CHECK_EQ(series.points[0].nanoseconds, 0);
    CHECK_EQ(series.points[0].live_bytes, 0);
    for (size_t i = 1; i < series.count; i++) {
        CHECK_GT(series.points[i].nanoseconds, series.points[i - 1].nanoseconds);
        CHECK_GE(series.points[i].live_bytes, series.points[i - 1].live_bytes);
        CHECK_LE(series.points[i].live_bytes, series.points[i].footprint_bytes);
        CHECK_EQ(series.points[i].limit_bytes, test_stats(instance).limit_bytes);
    }
}

int main(void)
{
    size_t left = 0;
    CHECK(emma_report_is_due(&left, 1)); /* from the start on */
    CHECK(!emma_report_is_due(&left, EMMA_REPORT_TICK_BYTES - 1));
    CHECK(emma_report_is_due(&left, 1));
    CHECK(emma_report_is_due(&left, SIZE_MAX));
    CHECK(!emma_report_is_due(&left, 1));

    emma *instance = test_create(64 * TEST_MIB, 0);
    emma_report_series_start(&series, instance);
    const uint64_t start = now(), interval = series.interval;
    for (size_t i = 0; i < FEW_TICKS; i++)
        emma_report_series_tick(&series);
    CHECK_LE(series.count, 2 + (now() - start) / interval);

    size_t most = 0;
    while (series.interval == interval) {
        CHECK_LT(now() - start, (uint64_t)MOST_SECONDS * 1000000000);
        if (series.count > most)
            CHECK(emma_malloc(instance, BLOCK_BYTES) != NULL);
        most = series.count > most ? series.count : most;
        emma_report_series_tick(&series);
    }
    CHECK_EQ(most, EMMA_REPORT_POINTS);
    CHECK_EQ(series.count, EMMA_REPORT_POINTS / 2 + 1);
    CHECK_EQ(series.interval, 2 * interval);
    check_order(instance);
    CHECK(emma_malloc(instance, BLOCK_BYTES) != NULL);
    emma_report_series_end(&series);
    check_order(instance);
    CHECK_EQ(series.points[series.count - 1].live_bytes, test_stats(instance).live_bytes);
    emma_destroy(instance);
    return 0;
}
