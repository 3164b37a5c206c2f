/** The entry of a lane's thread. */
import { awaitAssignment, serveLane } from './lane-thread.ts';

awaitAssignment(serveLane);
