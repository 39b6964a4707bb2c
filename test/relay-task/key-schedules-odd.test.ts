import { testSchedules } from './key-schedules/schedules.ts';

testSchedules('odd');
